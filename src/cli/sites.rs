//! Which site a command is about.

use crate::config::{Settings, SiteSettings};
use crate::error::{Exit, Explain};

/// The command line doesn't name one of the sites.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSuchSite {
    #[error("there is no site {name:?}")]
    Unknown { name: String, sites: String },
    #[error("there are several sites, and none is named")]
    Several { sites: String },
    #[error("there are no sites")]
    None,
}

impl Explain for NoSuchSite {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { sites, .. } | Self::Several { sites } => format!("name one of: {sites}"),
            Self::None => "add a [[site]] to the configuration and restart the daemon".into(),
        })
    }
}

/// The site of the configuration that was named, or the only one there is.
pub(super) fn choose_site<'a>(settings: &'a Settings, asked: Option<&str>) -> Result<&'a SiteSettings, NoSuchSite> {
    choose(&settings.sites, |site| site.name.as_str(), asked)
}

/// The same among whatever has a site's name.
pub(super) fn choose<'a, T>(sites: &'a [T], name: impl Fn(&T) -> &str, asked: Option<&str>) -> Result<&'a T, NoSuchSite> {
    let all = || sites.iter().map(&name).collect::<Vec<_>>().join(", ");
    match (asked, sites) {
        (_, []) => Err(NoSuchSite::None),
        (Some(asked), _) => sites
            .iter()
            .find(|site| name(site) == asked)
            .ok_or_else(|| NoSuchSite::Unknown { name: asked.to_owned(), sites: all() }),
        (None, [only]) => Ok(only),
        (None, _) => Err(NoSuchSite::Several { sites: all() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_site_need_not_be_named() {
        let pick = |sites: &[&str], asked| choose(sites, |site| site, asked).map(|site| (*site).to_owned());
        assert_eq!(pick(&["blog"], None).unwrap(), "blog");
        assert_eq!(pick(&["blog", "shop"], Some("shop")).unwrap(), "shop");
        assert!(matches!(pick(&["blog", "shop"], None), Err(NoSuchSite::Several { sites }) if sites == "blog, shop"));
        assert!(matches!(pick(&["blog"], Some("nope")), Err(NoSuchSite::Unknown { .. })));
        assert_eq!(pick(&[], None).unwrap_err().exit(), Exit::Usage);
    }
}

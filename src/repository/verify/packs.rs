//! The packs: whether they are there, what the store's checksum of each is, and what is in them.

use std::collections::HashSet;

use futures::StreamExt as _;
use futures::future::BoxFuture;

use super::look::{Needed, Site, reason};
use super::{Fault, FaultKind, Level, Report, Verify};
use crate::repository::RepositoryError;
use crate::repository::codec::Codec;
use crate::repository::ids::PackName;
use crate::repository::lost_packs::{Lost, lost};
use crate::repository::manifest::PackInfo;
use crate::repository::pack;
use crate::repository::seal::{Keys, unseal};
use crate::storage::{Sha256, StoreError, StoreErrorKind};

/// Checksums that are asked for at a time.
const ASKING: usize = 8;
/// Packs that are read at a time: one is on its way while another is hashed.
const READING: usize = 2;

/// What is wrong with one pack.
type Bad = (FaultKind, String);

/// Looks at all packs that snapshots need, as deep as the level says.
pub(super) async fn check(verify: &Verify, site: &Site, report: &mut Report) -> Result<(), RepositoryError> {
    let mut gone = HashSet::new();
    for (pack, bad) in there(verify, site).await? {
        gone.insert(pack);
        tell(verify, site, &pack, bad, report);
    }
    if !matches!(verify.level, Level::Read(_)) {
        for pack in verify.known_bad.iter().filter(|pack| site.packs.contains_key(pack)) {
            if !report.bad_packs.contains(pack) {
                let bad = (FaultKind::PackDamaged, "an earlier verify found it bad, and this one doesn't read it".to_owned());
                tell(verify, site, pack, bad, report);
            }
        }
    }
    match verify.level {
        Level::Structure | Level::Restore => Ok(()),
        Level::Checksums => checksums(verify, site, &gone, report).await,
        Level::Read(share) => {
            let keys = Keys::of_sets(&verify.identities, site.sealed.clone());
            let mut packs: Vec<&Needed> = site
                .packs
                .values()
                .filter(|needed| share.has(&needed.info.name) || verify.known_bad.contains(&needed.info.name))
                .collect();
            packs.retain(|needed| !gone.contains(&needed.info.name));
            packs.sort_by_key(|needed| needed.info.name);
            let reads: Vec<_> = packs.into_iter().map(|needed| looked_into(verify, needed, keys.clone())).collect();
            let mut reads = futures::stream::iter(reads).buffered(READING);
            while let Some((needed, result)) = reads.next().await {
                verify.go_on()?;
                report.looked_at.add(needed.info.size);
                match result? {
                    Ok(true) => {}
                    Ok(false) => report.not_looked_at(
                        "what is in encrypted packs, of which only the bytes stored were hashed: give an identity that opens them by --identity FILE".to_owned(),
                    ),
                    Err(bad) => tell(verify, site, &needed.info.name, bad, report),
                }
            }
            Ok(())
        }
    }
}

fn tell(verify: &Verify, site: &Site, pack: &PackName, (kind, detail): Bad, report: &mut Report) {
    report.bad_packs.insert(*pack);
    let needed = site.packs.get(pack);
    let object = needed.map_or_else(|| pack.to_string(), |needed| verify.layout.pack(&needed.info));
    report.fault(Fault { kind, object, detail, snapshots: needed.map(|needed| needed.snapshots) });
}

/// Those that are missing, or of another size.
async fn there(verify: &Verify, site: &Site) -> Result<Vec<(PackName, Bad)>, RepositoryError> {
    let packs = site.packs.values().map(|needed| &needed.info);
    let lost = tokio::select! {
        lost = lost(verify.store.as_ref(), &verify.layout, packs) => lost?,
        () = verify.cancel.cancelled() => return Err(RepositoryError::Cancelled),
    };
    let bad = |(pack, how): (&PackInfo, Lost)| match how {
        Lost::Gone => (pack.name, (FaultKind::PackMissing, "it is not in the store".to_owned())),
        Lost::Size(size) => (pack.name, (FaultKind::PackSize, format!("it has {size} bytes, and was sent with {}", pack.size))),
    };
    Ok(lost.into_iter().map(bad).collect())
}

async fn checksums(verify: &Verify, site: &Site, gone: &HashSet<PackName>, report: &mut Report) -> Result<(), RepositoryError> {
    let mut packs: Vec<&Needed> = site.packs.values().filter(|needed| !gone.contains(&needed.info.name)).collect();
    packs.sort_by_key(|needed| needed.info.name);
    let asked: Vec<_> = packs.into_iter().map(|needed| kept(verify, needed)).collect();
    let mut asked = futures::stream::iter(asked).buffered(ASKING);
    let (mut with, mut without) = (false, Vec::new());
    while let Some((needed, sum)) = asked.next().await {
        verify.go_on()?;
        match sum {
            Ok(Some(sum)) => {
                report.looked_at.add(needed.info.size);
                with = true;
                let sum = hex::encode(sum);
                if sum != needed.info.sha256 {
                    let detail = format!("the store's SHA-256 is {sum}, that of what was sent {}", needed.info.sha256);
                    tell(verify, site, &needed.info.name, (FaultKind::PackChecksum, detail), report);
                }
            }
            Ok(None) => without.push(needed),
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                let bad = (FaultKind::PackMissing, "it is not in the store any more".to_owned());
                tell(verify, site, &needed.info.name, bad, report);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !with && !without.is_empty() {
        report.not_looked_at("packs of which the store keeps no SHA-256: read them, by --read".to_owned());
        return Ok(());
    }
    // Each is sent with one: where the store keeps those of others, someone else has put these there, be it by copying the bucket. They are read.
    for needed in without {
        verify.go_on()?;
        report.looked_at.add(needed.info.size);
        if let Err(bad) = read(verify, needed, Keys::default()).await? {
            tell(verify, site, &needed.info.name, bad, report);
        }
    }
    Ok(())
}

/// The checksum that the store keeps. Boxed: of many packs few are asked for at a time.
fn kept<'a>(verify: &'a Verify, needed: &'a Needed) -> BoxFuture<'a, (&'a Needed, Result<Option<Sha256>, StoreError>)> {
    Box::pin(async move { (needed, verify.store.checksum(&verify.layout.pack(&needed.info)).await) })
}

type Looked = Result<Result<bool, Bad>, RepositoryError>;

fn looked_into<'a>(verify: &'a Verify, needed: &'a Needed, keys: Keys) -> BoxFuture<'a, (&'a Needed, Looked)> {
    Box::pin(async move { (needed, read(verify, needed, keys).await) })
}

/// Reads a pack: whether what is in it could be looked at, or what is wrong with it.
async fn read(verify: &Verify, needed: &Needed, keys: Keys) -> Looked {
    verify.go_on()?;
    let info = needed.info.clone();
    let bytes = match verify.store.get(&verify.layout.pack(&info), info.size).await.map_err(RepositoryError::from) {
        Ok(bytes) => bytes,
        Err(error) if error.is_of_the_object() => return Ok(Err((FaultKind::PackDamaged, reason(&error)))),
        Err(error) => return Err(error),
    };
    let looked = move || {
        if PackName::of(&bytes) != info.name {
            return Err(RepositoryError::damaged("", "its bytes don't have the hash that is its name"));
        }
        let plain = match info.sealed {
            None => bytes,
            Some(_) => match unseal(&keys, &info, &bytes) {
                Ok(plain) => plain.into(),
                Err(RepositoryError::NoIdentity { .. } | RepositoryError::WrongIdentity { .. }) => return Ok(false),
                Err(error) => return Err(error),
            },
        };
        pack::verify(&mut Codec::default(), &plain).map(|_| true)
    };
    match tokio::task::spawn_blocking(looked).await.map_err(|_| RepositoryError::Task)? {
        Ok(looked) => Ok(Ok(looked)),
        Err(error) if error.is_of_the_object() => Ok(Err((FaultKind::PackDamaged, reason(&error)))),
        Err(error) => Err(error),
    }
}

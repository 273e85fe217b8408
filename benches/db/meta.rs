//! Users, terms and options.

use std::io::{self, Write};

use crate::insert::Insert;
use crate::random::Random;
use crate::text::Text;
use crate::{Counts, moment, row};

pub(crate) fn users(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("users");
    let mut table = Insert::into("wp_users", out);
    for id in 1..=counts.users {
        let login = format!("{}{id}", text.slug(&mut random, 1));
        let password = format!("$P$B{:016x}{:014x}", random.next(), random.next() >> 8);
        let (email, name) = (format!("{login}@mail.example.net"), text.words(&mut random, 2));
        let registered = moment(id, counts.users);
        table.row(row![id, &login, &password, &login, &email, "", &registered, "", 0, &name])?;
    }
    table.finish()
}

pub(crate) fn usermeta(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("usermeta");
    let mut table = Insert::into("wp_usermeta", out);
    const KEYS: [&str; 10] = [
        "nickname",
        "first_name",
        "last_name",
        "description",
        "rich_editing",
        "wp_capabilities",
        "wp_user_level",
        "session_tokens",
        "billing_city",
        "last_update",
    ];
    for at in 0..counts.users * 10 {
        let key = KEYS[(at % 10) as usize];
        let value = match key {
            "nickname" | "first_name" | "last_name" | "billing_city" => text.word(&mut random).to_owned(),
            "rich_editing" => "true".to_owned(),
            "wp_capabilities" => "a:1:{s:8:\"customer\";b:1;}".to_owned(),
            "wp_user_level" => "0".to_owned(),
            "last_update" => (1_400_000_000 + random.below(300_000_000)).to_string(),
            "session_tokens" if random.percent(20) => format!(
                "a:1:{{s:64:\"{:016x}{:016x}{:016x}{:016x}\";a:4:{{s:10:\"expiration\";i:1767225600;s:2:\"ip\";s:9:\"203.0.113\";}}}}",
                random.next(),
                random.next(),
                random.next(),
                random.next()
            ),
            _ => String::new(),
        };
        table.row(row![at + 1, 1 + at / 10, key, &value])?;
    }
    table.finish()
}

pub(crate) fn terms(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("terms");
    let mut table = Insert::into("wp_terms", out);
    for id in 1..=counts.terms {
        let (name, slug) = (text.words(&mut random, 2), format!("{}-{id}", text.slug(&mut random, 2)));
        table.row(row![id, &name, &slug, 0])?;
    }
    table.finish()?;
    let mut table = Insert::into("wp_term_taxonomy", out);
    for id in 1..=counts.terms {
        let taxonomy = random.one_of(&["category", "post_tag", "post_tag", "product_cat", "nav_menu"]);
        table.row(row![id, id, taxonomy, "", 0, random.skewed(10)])?;
    }
    table.finish()?;
    let mut table = Insert::into("wp_term_relationships", out);
    for post in 1..=counts.posts {
        // Distinct for each post, and in the primary key's order.
        let mut term = 1 + random.below(counts.terms);
        for _ in 0..1 + random.below(4) {
            table.row(row![post, term, 0])?;
            term += 1 + random.skewed(8);
        }
    }
    table.finish()
}

/// What WordPress itself reads first.
const OWN: [(&str, &str); 8] = [
    ("siteurl", "https://blog.example.org"),
    ("home", "https://blog.example.org"),
    ("blogname", "A blog with a shop"),
    ("template", "plain"),
    ("stylesheet", "plain"),
    ("db_version", "60421"),
    ("active_plugins", "a:0:{}"),
    ("upload_path", ""),
];

/// Options that stay come first; transients, deleted and made again day by day, have the highest ids.
pub(crate) fn options(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("options");
    let mut table = Insert::into("wp_options", out);
    for (id, (name, value)) in (1..).zip(OWN) {
        table.row(row![id, name, value, "yes"])?;
    }
    for id in OWN.len() as u64 + 1..=counts.options {
        let name = format!("{}_{id}", random.one_of(&["widget", "theme_mods", "woocommerce", "wpseo", "plugin_settings"]));
        let size = random.skewed(13) as usize;
        let value = format!("a:1:{{s:4:\"text\";s:{size}:\"{}\";}}", text.sentences(&mut random, size));
        table.row(row![id, &name, &value, random.one_of(&["yes", "yes", "no"])])?;
    }
    for at in 0..counts.transients {
        transient(&mut table, text, &mut random, counts.options + 1 + 2 * at, at)?;
    }
    table.finish()
}

/// The two rows of a transient: when it expires, and what it is.
pub(crate) fn transient(table: &mut Insert<'_>, text: &Text, random: &mut Random, id: u64, number: u64) -> io::Result<()> {
    let expires = (1_767_225_600 + random.below(86_400)).to_string();
    let size = 100 + random.skewed(12) as usize;
    let value = text.sentences(random, size);
    table.row(row![id, &format!("_transient_timeout_cache_{number}"), &expires, "off"])?;
    table.row(row![id + 1, &format!("_transient_cache_{number}"), &value, "off"])
}

//! Posts with their meta, and comments with theirs: most of a blog's bytes and rows.

use std::collections::VecDeque;
use std::io::{self, Write};

use crate::insert::{Insert, Value};
use crate::random::Random;
use crate::text::Text;
use crate::{Counts, moment, row};

/// Rows of meta for each post, `_edit_lock` and `_edit_last` the first two.
const META: u64 = 7;

pub(crate) fn posts(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("posts");
    let mut table = Insert::into("wp_posts", out);
    let mut written: VecDeque<(u64, String)> = VecDeque::new();
    for id in 1..=counts.posts {
        let kind = random.below(100);
        let (kind, status, parent, content, mime) = match (kind, written.len()) {
            // A revision repeats a post that was just written, up to the paragraphs that were changed.
            (0..12, 1..) => {
                let at = random.below(written.len() as u64) as usize;
                let (parent, content) = &written[at];
                ("revision", "inherit", *parent, revised(content, text, &mut random), "")
            }
            (12..36, _) => ("attachment", "inherit", random.below(id), String::new(), "image/jpeg"),
            (36..40, _) => ("nav_menu_item", "publish", 0, String::new(), ""),
            (40..45, _) => ("product", "publish", 0, text.post(&mut random, 1_500), ""),
            _ => {
                let size = 2_000 + random.below(6_600) as usize + random.skewed(14) as usize;
                let content = text.post(&mut random, size);
                written.push_back((id, content.clone()));
                if written.len() > 12 {
                    written.pop_front();
                }
                ("post", random.one_of(&["publish", "publish", "publish", "publish", "draft"]), 0, content, "")
            }
        };
        let words = 3 + random.below(7);
        let (title, name) = (text.words(&mut random, words), text.slug(&mut random, words));
        let name = if kind == "revision" { format!("{parent}-revision-v1") } else { name };
        let date = moment(id, counts.posts);
        let gmt = if status == "draft" { "0000-00-00 00:00:00" } else { &date };
        let excerpt = if kind == "post" && random.percent(40) { text.sentences(&mut random, 120) } else { String::new() };
        let guid = format!("https://blog.example.org/?p={id}");
        let author = 1 + random.below(12);
        let comments = if kind == "post" { random.skewed(6) } else { 0 };
        table.row(row![
            id, author, &date, gmt, &content, &title, &excerpt, status, "open", "open", "", &name, "", "", &date, gmt, "",
            parent, &guid, 0, kind, mime, comments
        ])?;
    }
    table.finish()
}

/// The same content with one paragraph more, somewhere.
pub(crate) fn revised(content: &str, text: &Text, random: &mut Random) -> String {
    let ends: Vec<usize> = content.match_indices("\n\n").map(|(at, _)| at + 2).collect();
    let at = if ends.is_empty() { 0 } else { random.one_of(&ends) };
    let (before, after) = content.split_at(at);
    let more = text.sentences(random, 200);
    format!("{before}<!-- wp:paragraph -->\n<p>{}</p>\n<!-- /wp:paragraph -->\n\n{after}", more.trim_end())
}

pub(crate) fn postmeta(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("postmeta");
    let mut table = Insert::into("wp_postmeta", out);
    for at in 0..counts.posts * META {
        let post = 1 + at / META;
        let (key, value) = match at % META {
            0 => ("_edit_lock", format!("{}:{}", 1_325_376_000 + at * 560, 1 + random.below(12))),
            1 => ("_edit_last", (1 + random.below(12)).to_string()),
            _ => any_meta(text, &mut random),
        };
        let value = if value.is_empty() && random.percent(20) { Value::Null } else { Value::from(&value) };
        table.row(&[Value::from(at + 1), Value::from(post), Value::from(key), value])?;
    }
    table.finish()
}

/// What plugins and WordPress itself keep of a post.
pub(crate) fn any_meta(text: &Text, random: &mut Random) -> (&'static str, String) {
    match random.below(100) {
        0..12 => ("_thumbnail_id", random.below(60_000).to_string()),
        12..22 => ("_yoast_wpseo_metadesc", text.sentences(random, 110)),
        22..30 => ("_yoast_wpseo_focuskw", text.words(random, 2)),
        30..38 => ("_yoast_wpseo_primary_category", random.below(3_000).to_string()),
        38..46 => ("post_views_count", random.skewed(17).to_string()),
        46..54 => ("_price", format!("{}.{:02}", random.below(400), random.below(100))),
        54..60 => {
            ("_wp_attached_file", format!("20{}/{:02}/{}.jpg", 12 + random.below(14), 1 + random.below(12), text.slug(random, 2)))
        }
        60..66 => ("_wp_attachment_metadata", attachment(text, random)),
        66..74 => ("_oembed_time_5d41402abc4b2a76b9719d911017c592", (1_400_000_000 + random.below(300_000_000)).to_string()),
        74..82 => ("_wp_page_template", random.one_of(&["default", "template-full-width.php", "elementor_canvas"]).to_owned()),
        82..83 => {
            let size = 1_000 + random.skewed(13) as usize;
            ("_elementor_data", elementor(text, random, size))
        }
        83..91 => ("_encloseme", String::new()),
        _ => ("footnotes", String::new()),
    }
}

fn attachment(text: &Text, random: &mut Random) -> String {
    let name = text.slug(random, 2);
    let mut sizes = String::new();
    for (size, width, height) in [("medium", 300, 200), ("large", 1024, 683), ("thumbnail", 150, 150), ("medium_large", 768, 512)]
    {
        let file = format!("{name}-{width}x{height}.jpg");
        sizes += &format!(
            "s:{}:\"{size}\";a:5:{{s:4:\"file\";s:{}:\"{file}\";s:5:\"width\";i:{width};s:6:\"height\";i:{height};s:9:\"mime-type\";s:10:\"image/jpeg\";s:8:\"filesize\";i:{};}}",
            size.len(),
            file.len(),
            random.below(200_000)
        );
    }
    format!(
        "a:6:{{s:5:\"width\";i:2560;s:6:\"height\";i:1707;s:4:\"file\";s:{}:\"2024/05/{name}.jpg\";s:8:\"filesize\";i:{};s:5:\"sizes\";a:4:{{{sizes}}}s:10:\"image_meta\";a:12:{{s:8:\"aperture\";s:3:\"2.8\";s:6:\"credit\";s:0:\"\";s:6:\"camera\";s:11:\"X-T30 \\ \\'II\\'\";s:3:\"iso\";s:3:\"{}\";}}}}",
        name.len() + 12,
        random.below(4_000_000),
        100 + random.below(800)
    )
}

fn elementor(text: &Text, random: &mut Random, bytes: usize) -> String {
    let mut json = String::from("[");
    while json.len() < bytes {
        json += &format!(
            "{{\"id\":\"{:07x}\",\"elType\":\"widget\",\"settings\":{{\"editor\":\"<p>{}<\\/p>\",\"_margin\":{{\"unit\":\"px\",\"top\":\"{}\"}}}},\"elements\":[],\"widgetType\":\"text-editor\"}},",
            random.below(1 << 28),
            text.words(random, 30).replace('"', "\\\""),
            random.below(80)
        );
    }
    json.truncate(json.len() - 1);
    json + "]"
}

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
];

pub(crate) fn comments(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("comments");
    let mut table = Insert::into("wp_comments", out);
    for id in 1..=counts.comments {
        // On what was new on that day, mostly.
        let newest = (id * counts.posts / counts.comments).max(1);
        let post = if random.percent(80) { newest.saturating_sub(random.skewed(8)).max(1) } else { 1 + random.below(newest) };
        let date = moment(id, counts.comments);
        comment(&mut table, text, &mut random, id.into(), post, &date)?;
    }
    table.finish()
}

pub(crate) fn comment(
    table: &mut Insert<'_>,
    text: &Text,
    random: &mut Random,
    id: Value<'_>,
    post: u64,
    date: &str,
) -> io::Result<()> {
    let name = text.words(random, 2);
    let email = format!("{}{}@mail.example.net", text.slug(random, 1), random.below(10_000));
    let url = if random.percent(30) { format!("https://{}.example.com/", text.slug(random, 2)) } else { String::new() };
    let ip = format!("203.0.{}.{}", random.below(256), random.below(256));
    let size = 40 + random.skewed(9) as usize + random.below(140) as usize;
    let content = text.sentences(random, size);
    let approved = random.one_of(&["1", "1", "1", "1", "0", "spam"]);
    let (agent, parent) = (random.one_of(&AGENTS), random.below(post + 1));
    table.row(&[
        id,
        post.into(),
        (&name).into(),
        (&email).into(),
        (&url).into(),
        (&ip).into(),
        date.into(),
        date.into(),
        (&content).into(),
        0.into(),
        approved.into(),
        agent.into(),
        "comment".into(),
        parent.into(),
        0.into(),
    ])
}

pub(crate) fn commentmeta(counts: &Counts, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("commentmeta");
    let mut table = Insert::into("wp_commentmeta", out);
    for id in 1..=counts.comments * 2 / 5 {
        let (key, value) = random.one_of(&[("akismet_result", "false"), ("akismet_history", ""), ("akismet_as_submitted", "")]);
        let value = match value {
            "" => format!(
                "a:3:{{s:4:\"time\";d:{}.{};s:5:\"event\";s:9:\"check-ham\";}}",
                1_325_376_000 + id * 5_000,
                random.below(10_000)
            ),
            value => value.to_owned(),
        };
        table.row(row![id, 1 + id * 5 / 2 - 1, key, &value])?;
    }
    table.finish()
}

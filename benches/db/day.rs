//! A blog's day: 40 posts, 60 edits, 500 rows of post meta, 300 comments, 20 options and 60 transients, where a blog changes them.
//! Edits and the comments on older posts go to random rows, for that is what costs a backup that deduplicates; what is new goes to the end.

use std::io::{self, Write};

use crate::insert::{Insert, Value};
use crate::random::Random;
use crate::text::Text;
use crate::{Counts, meta, posts, row};

const NOW: &str = "2026-01-01 12:00:00";

pub(crate) fn day(counts: &Counts, out: &mut dyn Write) -> io::Result<()> {
    let text = Text::new();
    let mut random = Random::of("day");
    let random = &mut random;
    writes(counts, &text, random, out)?;
    edits(counts, &text, random, out)?;
    comments(counts, &text, random, out)?;
    options(counts, &text, random, out)
}

const POSTS: &str = "wp_posts (post_author, post_date, post_date_gmt, post_content, post_title, post_excerpt, post_status, post_name, to_ping, \
                     pinged, post_modified, post_modified_gmt, post_content_filtered, post_parent, post_type)";

/// New posts, and what plugins keep of them.
fn writes(counts: &Counts, text: &Text, random: &mut Random, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Insert::into(POSTS, out);
    for _ in 0..counts.changes(40) {
        let size = 1_000 + random.below(12_000) as usize;
        let (content, title, name) = (text.post(random, size), text.words(random, 6), text.slug(random, 6));
        table.row(row![
            1 + random.below(12),
            NOW,
            NOW,
            &content,
            &title,
            "",
            "publish",
            &name,
            "",
            "",
            NOW,
            NOW,
            "",
            0,
            "post"
        ])?;
    }
    table.finish()?;
    let mut table = Insert::into("wp_postmeta (post_id, meta_key, meta_value)", out);
    for _ in 0..counts.changes(350) {
        let (key, value) = posts::any_meta(text, random);
        table.row(row![counts.posts + 1 + random.below(counts.changes(40)), key, &value])?;
    }
    table.finish()
}

/// Edits of posts of any age: a paragraph more, the row of the revision that WordPress adds, the meta that says who and when (120 rows); and
/// 30 counters and prices of other posts.
fn edits(counts: &Counts, text: &Text, random: &mut Random, out: &mut dyn Write) -> io::Result<()> {
    for _ in 0..counts.changes(60) {
        let (post, more) = (1 + random.below(counts.posts), text.sentences(random, 200));
        let more = format!("<!-- wp:paragraph --><p>{}</p><!-- /wp:paragraph -->", more.replace('\'', "’").trim_end());
        let author = 1 + random.below(12);
        writeln!(
            out,
            "UPDATE wp_posts SET post_content = CONCAT(post_content, '{more}'), post_modified = '{NOW}', post_modified_gmt = '{NOW}' WHERE ID = {post};"
        )?;
        writeln!(
            out,
            "INSERT INTO {POSTS} SELECT {author}, '{NOW}', '{NOW}', post_content, post_title, post_excerpt, 'inherit', '{post}-revision-v1', '', \
             '', '{NOW}', '{NOW}', '', {post}, 'revision' FROM wp_posts WHERE ID = {post};"
        )?;
        writeln!(
            out,
            "UPDATE wp_postmeta SET meta_value = '1767268800:{author}' WHERE post_id = {post} AND meta_key = '_edit_lock';"
        )?;
        writeln!(
            out,
            "UPDATE wp_postmeta SET meta_value = '{}' WHERE post_id = {post} AND meta_key = '_edit_last';",
            author + 12
        )?;
    }
    for _ in 0..counts.changes(30) {
        let post = 1 + random.below(counts.posts);
        writeln!(
            out,
            "UPDATE wp_postmeta SET meta_value = meta_value + 1 WHERE post_id BETWEEN {post} AND {post} + 20 AND meta_key IN ('post_views_count', '_price') \
             ORDER BY post_id LIMIT 1;"
        )?;
    }
    Ok(())
}

/// Comments, six of seven on the newest posts; those that are approved are counted in the post's row.
fn comments(counts: &Counts, text: &Text, random: &mut Random, out: &mut dyn Write) -> io::Result<()> {
    let count = counts.changes(300);
    let mut on = Vec::new();
    let mut table = Insert::into("wp_comments", out);
    for at in 1..=count {
        let newest = counts.posts + counts.changes(40);
        let post = if random.percent(86) {
            newest - random.below(counts.changes(400)).min(newest - 1)
        } else {
            1 + random.below(newest)
        };
        posts::comment(&mut table, text, random, Value::Number(counts.comments + at), post, NOW)?;
        on.push(post);
    }
    table.finish()?;
    let mut table = Insert::into("wp_commentmeta (comment_id, meta_key, meta_value)", out);
    for at in 1..=count {
        table.row(row![counts.comments + at, "akismet_result", "false"])?;
    }
    table.finish()?;
    for post in on.into_iter().filter(|post| post % 3 != 0) {
        writeln!(out, "UPDATE wp_posts SET comment_count = comment_count + 1 WHERE ID = {post};")?;
    }
    Ok(())
}

/// Options change in place; transients are deleted and made anew, with new ids.
fn options(counts: &Counts, text: &Text, random: &mut Random, out: &mut dyn Write) -> io::Result<()> {
    for _ in 0..counts.changes(20) {
        let (id, value) = (9 + random.below(counts.options - 8), text.sentences(random, 300).replace('\'', "’"));
        writeln!(out, "UPDATE wp_options SET option_value = 'a:1:{{i:0;s:300:\"{value}\";}}' WHERE option_id = {id};")?;
    }
    let first = counts.options + 1 + 2 * counts.transients;
    for at in 0..counts.changes(60) {
        let number = random.below(counts.transients);
        writeln!(
            out,
            "DELETE FROM wp_options WHERE option_name IN ('_transient_timeout_cache_{number}', '_transient_cache_{number}');"
        )?;
        let mut table = Insert::into("wp_options", out);
        meta::transient(&mut table, text, random, first + 2 * at, number)?;
        table.finish()?;
    }
    Ok(())
}

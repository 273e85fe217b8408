//! Text as blogs hold it: words by Zipf's law, in paragraphs, in the block editor's HTML. It compresses about threefold by zstd -3, as
//! real posts do.

use std::fmt::Write as _;

use crate::random::Random;

/// 2^WORDS words.
const WORDS: u64 = 16;
const ONSETS: [&str; 24] = [
    "b", "br", "c", "ch", "d", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pr", "qu", "r", "s", "st", "t", "v", "w",
];
const VOWELS: [&str; 12] = ["a", "e", "i", "o", "u", "ai", "ea", "ou", "y", "é", "ö", "ee"];
const CODAS: [&str; 12] = ["", "", "", "n", "r", "s", "t", "l", "nd", "ck", "m", "st"];
const ENDINGS: [&str; 16] = ["", "", "", "", "", "", "", "", "", "e", "y", "ing", "ed", "er", "s", "tion"];
const COMMON: [&str; 32] = [
    "the", "of", "and", "to", "a", "in", "is", "it", "you", "that", "was", "for", "on", "are", "with", "as", "his", "they", "be",
    "at", "one", "have", "this", "from", "or", "had", "by", "not", "but", "what", "we", "don't",
];

pub(crate) struct Text {
    words: Vec<String>,
}

impl Text {
    pub(crate) fn new() -> Self {
        let mut random = Random::of("words");
        let mut words: Vec<String> = COMMON.iter().map(|&word| word.to_owned()).collect();
        while words.len() < 1 << WORDS {
            let mut word = String::new();
            for _ in 0..1 + random.below(5) / 3 {
                word += random.one_of(&ONSETS);
                word += random.one_of(&VOWELS);
                word += random.one_of(&CODAS);
            }
            words.push(word + random.one_of(&ENDINGS));
        }
        Self { words }
    }

    pub(crate) fn word(&self, random: &mut Random) -> &str {
        &self.words[random.skewed_above(8, WORDS) as usize]
    }

    /// So many words, as a sentence without its full stop.
    pub(crate) fn words(&self, random: &mut Random, count: u64) -> String {
        let mut text = String::new();
        for at in 0..count {
            if at > 0 {
                text.push_str(if random.percent(7) { ", " } else { " " });
            }
            text.push_str(self.word(random));
        }
        text
    }

    /// At least so many bytes of sentences.
    pub(crate) fn sentences(&self, random: &mut Random, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            let words = 4 + random.below(16);
            let sentence = self.words(random, words);
            let mut letters = sentence.chars();
            text.extend(letters.next().into_iter().flat_map(char::to_uppercase));
            text.push_str(letters.as_str());
            text.push_str(random.one_of(&[". ", ". ", ". ", "! ", "? ", ": \"", "\" 🙂 "]));
        }
        text
    }

    pub(crate) fn slug(&self, random: &mut Random, words: u64) -> String {
        let words: Vec<&str> = (0..words).map(|_| self.word(random)).collect();
        words.join("-").replace('\'', "")
    }

    /// A post's content: at least so many bytes of blocks.
    pub(crate) fn post(&self, random: &mut Random, bytes: usize) -> String {
        let mut html = String::with_capacity(bytes + 2048);
        while html.len() < bytes {
            self.block(random, &mut html);
        }
        html
    }

    fn block(&self, random: &mut Random, html: &mut String) {
        let written = match random.below(12) {
            0 => {
                let (words, level) = (3 + random.below(6), 2 + random.below(3));
                let heading = self.words(random, words);
                write!(
                    html,
                    "<!-- wp:heading {{\"level\":{level}}} -->\n<h{level} class=\"wp-block-heading\">{heading}</h{level}>\n<!-- /wp:heading -->\n\n"
                )
            }
            1 => {
                let (id, month, words) = (random.below(60_000), 1 + random.below(12), 3 + random.below(8));
                let (file, alt) = (self.slug(random, 2), self.words(random, words));
                write!(
                    html,
                    "<!-- wp:image {{\"id\":{id},\"sizeSlug\":\"large\",\"linkDestination\":\"none\"}} -->\n<figure class=\"wp-block-image size-large\"><img src=\"https://blog.example.org/wp-content/uploads/20{}/{month:02}/{file}-1024x683.jpg\" alt=\"{alt}\" class=\"wp-image-{id}\"/></figure>\n<!-- /wp:image -->\n\n",
                    12 + random.below(15)
                )
            }
            2 => {
                html.push_str("<!-- wp:list -->\n<ul class=\"wp-block-list\">");
                for _ in 0..3 + random.below(5) {
                    let words = 3 + random.below(12);
                    let _ =
                        write!(html, "<!-- wp:list-item -->\n<li>{}</li>\n<!-- /wp:list-item -->\n\n", self.words(random, words));
                }
                write!(html, "</ul>\n<!-- /wp:list -->\n\n")
            }
            _ => {
                let size = 150 + random.below(700) as usize;
                let mut text = self.sentences(random, size);
                if random.percent(30) {
                    let (to, words) = (self.slug(random, 4), self.words(random, 3));
                    let _ = write!(text, "<a href=\"https://blog.example.org/20{}/{to}/\">{words}</a>.", 12 + random.below(15));
                }
                write!(html, "<!-- wp:paragraph -->\n<p>{}</p>\n<!-- /wp:paragraph -->\n\n", text.trim_end())
            }
        };
        // To write into a string doesn't fail.
        let _ = written;
    }
}

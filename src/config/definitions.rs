//! The constants and variables that a PHP file defines, in its order, each with how sure it is that the definition is reached.

use std::ops::Range;

use super::php::{Located, Token, tokens};

/// The tokens of an expression that are looked at. What a web server may write here must not cost more than its size: an expression may stand in
/// another, and each would be read to its end.
const EXPRESSION_LIMIT: usize = 256;

/// More tokens before a definition in its statement, or before a block, are no guard.
const HEADER_LIMIT: usize = 32;

/// A longer word is none of PHP's.
const WORD_LIMIT: usize = 32;

/// What is in more blocks than this is under a condition.
const BLOCK_LIMIT: usize = 64;

/// Whether a definition is what PHP would come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// On every way through the file.
    Always,
    /// Only when nothing before has defined the same name: `if (!defined('X')) define('X', …)`.
    Guarded,
    /// Under a condition, which only running the file could decide.
    Conditional,
}

/// One definition of a name.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    /// The constant's name, or the variable's with its `$`.
    pub(super) name: String,
    /// The expression's tokens ([`Definitions::value`]).
    value: Range<usize>,
    /// The line it begins on.
    pub(super) line: usize,
    /// Whether PHP comes here.
    pub(super) reach: Reach,
    /// Whether another file, which may define the name first, is included before.
    pub(super) after_include: bool,
}

/// What a file defines.
#[derive(Debug, Clone, Default)]
pub(super) struct Definitions {
    /// All of them, in order.
    pub(super) all: Vec<Definition>,
    /// Every string of the file that looks like a PHP file's name.
    pub(super) php_files: Vec<String>,
    /// Whether it includes a file other than WordPress's own wp-settings.php.
    pub(super) includes: bool,
    /// All tokens of the file.
    tokens: Vec<Token>,
}

impl Definitions {
    /// Reads a file's source.
    pub(super) fn read(source: &[u8]) -> Self {
        let tokens = tokens(source);
        let mut scan =
            Scan { tokens: &tokens, blocks: Vec::new(), statement: 0, header: Header::default(), found: Self::default() };
        for at in 0..tokens.len() {
            scan.step(at);
        }
        let found = scan.found;
        Self { tokens: tokens.into_iter().map(|located| located.token).collect(), ..found }
    }

    /// A definition's expression; `None` of one that is longer than any plain value's.
    pub(super) fn value(&self, definition: &Definition) -> Option<&[Token]> {
        self.tokens.get(definition.value.clone()).filter(|tokens| tokens.len() < EXPRESSION_LIMIT)
    }

    /// The definitions that may be in effect for a constant: the first certain one and all before it.
    pub(super) fn of_constant(&self, name: &str) -> Vec<&Definition> {
        let mut candidates = Vec::new();
        for definition in self.all.iter().filter(|definition| definition.name == name) {
            candidates.push(definition);
            if definition.reach == Reach::Always || (definition.reach == Reach::Guarded && candidates.len() == 1) {
                break;
            }
        }
        candidates
    }

    /// The definitions that may be in effect for a variable (`$name`): the last certain one and all after it.
    pub(super) fn of_variable(&self, name: &str) -> Vec<&Definition> {
        let mut candidates = Vec::new();
        for definition in self.all.iter().filter(|definition| definition.name == name) {
            if definition.reach == Reach::Always {
                candidates.clear();
            }
            if definition.reach != Reach::Guarded || candidates.is_empty() {
                candidates.push(definition);
            }
        }
        candidates
    }
}

struct Scan<'t> {
    tokens: &'t [Located],
    /// What stands before the `{` or `:` of each block that is open.
    blocks: Vec<&'t [Located]>,
    /// Where the statement under way begins.
    statement: usize,
    header: Header,
    found: Definitions,
}

/// How far the statement under way has been read for the bracket that ends its condition.
#[derive(Default)]
struct Header {
    statement: usize,
    next: usize,
    depth: usize,
    closes: Option<usize>,
}

impl<'t> Scan<'t> {
    fn token(&self, at: usize) -> Option<&'t Token> {
        self.tokens.get(at).map(|located| &located.token)
    }

    /// The statement's tokens up to and without `at`.
    fn before(&self, at: usize) -> &'t [Located] {
        self.tokens.get(self.statement..at).unwrap_or_default()
    }

    fn step(&mut self, at: usize) {
        let Some(token) = self.token(at) else { return };
        match token {
            Token::Sign(b';') => self.statement = at + 1,
            Token::Sign(b'{') => self.open(at),
            Token::Sign(b'}') => {
                self.blocks.pop();
                self.statement = at + 1;
            }
            Token::Sign(b':') if self.is_control(at) => {
                if word(self.before(at).first()).is_some_and(|first| first.starts_with("else")) {
                    self.blocks.pop();
                }
                self.open(at);
            }
            Token::Text(text) if text.ends_with(b".php") => {
                self.found.php_files.push(String::from_utf8_lossy(text).into_owned());
            }
            Token::Word(_) => self.word(at),
            Token::Variable(name) => self.variable(at, name),
            _ => {}
        }
    }

    fn open(&mut self, at: usize) {
        self.blocks.push(self.before(at));
        self.statement = at + 1;
    }

    fn word(&mut self, at: usize) {
        match word(self.tokens.get(at)).unwrap_or_default().as_str() {
            "endif" | "endwhile" | "endfor" | "endforeach" | "endswitch" => {
                self.blocks.pop();
            }
            "include" | "include_once" | "require" | "require_once" => self.include(at),
            "define" => self.define(at),
            "const" if self.statement == at && self.blocks.is_empty() => self.constants(at + 1),
            _ => {}
        }
    }

    fn include(&mut self, at: usize) {
        let rest = self.tokens.get(at..).unwrap_or_default().iter().take(EXPRESSION_LIMIT);
        let mut statement = rest.map(|located| &located.token).take_while(|token| **token != Token::Sign(b';'));
        let settings = statement.any(|token| matches!(token, Token::Text(text) if text.ends_with(b"wp-settings.php")));
        self.found.includes |= !settings;
    }

    /// `define('NAME', value)`
    fn define(&mut self, at: usize) {
        let method = at.checked_sub(1).and_then(|before| self.token(before)).is_some_and(|token| *token == Token::Other);
        let (Some(Token::Sign(b'(')), Some(Token::Text(name)), Some(Token::Sign(b','))) =
            (self.token(at + 1), self.token(at + 2), self.token(at + 3))
        else {
            return;
        };
        if !method {
            let name = String::from_utf8_lossy(name).into_owned();
            self.define_as(name, at, at + 4);
        }
    }

    /// `const NAME = value, NAME = value;`
    fn constants(&mut self, mut at: usize) {
        while let (Some(Token::Word(name)), Some(Token::Sign(b'='))) = (self.token(at), self.token(at + 1)) {
            // Nothing but the name stands before a constant, so it is certain.
            self.define_with(name.clone(), at, at + 2, Reach::Always);
            at += 2 + length(self.tokens.get(at + 2..).unwrap_or_default()) + 1;
        }
    }

    /// `$table_prefix = value;`
    fn variable(&mut self, at: usize, name: &str) {
        let assigned = match self.token(at + 1) {
            Some(Token::Sign(b'=')) => true,
            // `.=` and its like: an assignment of something that isn't known.
            Some(Token::Other) => self.statement == at,
            _ => false,
        };
        if assigned {
            let from = if self.token(at + 1) == Some(&Token::Other) { at + 1 } else { at + 2 };
            self.define_as(format!("${name}"), at, from);
        }
    }

    fn define_as(&mut self, name: String, at: usize, value: usize) {
        let reach = if self.blocks.len() > BLOCK_LIMIT {
            Reach::Conditional
        } else {
            let headers = self.blocks.iter().copied().chain([self.before(at)]);
            headers.map(|header| reach(header, &name)).max().unwrap_or(Reach::Always)
        };
        self.define_with(name, at, value, reach);
    }

    /// Takes the expression that begins at `value`.
    fn define_with(&mut self, name: String, at: usize, value: usize, reach: Reach) {
        let rest = self.tokens.get(value..).unwrap_or_default();
        let length = length(rest.get(..EXPRESSION_LIMIT).unwrap_or(rest));
        let line = self.tokens.get(at).map_or(0, |located| located.line);
        let after_include = self.found.includes;
        self.found.all.push(Definition { name, value: value..value + length, line, reach, after_include });
    }

    /// Whether `else`, or a control word and one bracketed condition, stands before the `:` at this place: `if (…): … endif;`.
    fn is_control(&mut self, at: usize) -> bool {
        let header = self.before(at);
        let Some(first) = word(header.first()) else { return false };
        if first == "else" {
            return header.len() == 1;
        }
        if self.header.statement != self.statement || self.header.next == 0 {
            self.header = Header { statement: self.statement, next: self.statement + 1, ..Header::default() };
        }
        while self.header.closes.is_none() && self.header.next < at {
            match self.token(self.header.next) {
                Some(Token::Sign(b'(')) => self.header.depth += 1,
                Some(Token::Sign(b')')) => self.header.depth = self.header.depth.saturating_sub(1),
                _ => {}
            }
            if self.header.depth == 0 {
                self.header.closes = Some(self.header.next);
            }
            self.header.next += 1;
        }
        matches!(first.as_str(), "if" | "elseif" | "while" | "for" | "foreach" | "switch")
            && header.len() > 2
            && self.header.closes == at.checked_sub(1)
    }
}

/// How many tokens stand before the comma, semicolon or closing bracket that ends an expression.
fn length(tokens: &[Located]) -> usize {
    let mut depth = 0_usize;
    let ends = |located: &Located| match located.token {
        Token::Sign(b'(' | b'[' | b'{') => {
            depth += 1;
            false
        }
        Token::Sign(b',' | b';') => depth == 0,
        Token::Sign(b')' | b']' | b'}') => match depth.checked_sub(1) {
            Some(less) => {
                depth = less;
                false
            }
            None => true,
        },
        _ => false,
    };
    tokens.iter().position(ends).unwrap_or(tokens.len())
}

/// A word in lower case, without its leading namespace separator; none that is longer than PHP's own.
fn word(located: Option<&Located>) -> Option<String> {
    match &located?.token {
        Token::Word(word) if word.len() <= WORD_LIMIT => Some(word.trim_start_matches('\\').to_ascii_lowercase()),
        _ => None,
    }
}

/// What a block's header, or what precedes a definition in its statement, says about whether `name` is defined there.
fn reach(header: &[Located], name: &str) -> Reach {
    if header.len() > HEADER_LIMIT {
        return Reach::Conditional;
    }
    let wanted = |token: &Token| match token {
        Token::Text(text) => text == name.as_bytes(),
        Token::Variable(variable) => name.strip_prefix('$') == Some(variable),
        _ => false,
    };
    let mut form = String::new();
    for located in header {
        match &located.token {
            Token::Sign(b'(' | b')' | b'@') => {}
            Token::Sign(sign) => form.push(char::from(*sign)),
            token if wanted(token) => form.push('X'),
            _ => match word(Some(located)) {
                Some(word) => form.push_str(&word),
                None => return Reach::Conditional,
            },
        }
    }
    match form.as_str() {
        "" => Reach::Always,
        "if!definedX" | "definedX||" | "definedXor" | "if!issetX" | "ifemptyX" => Reach::Guarded,
        _ => Reach::Conditional,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, name: &str) -> Vec<(usize, Reach)> {
        let definitions = Definitions::read(format!("<?php {source}").as_bytes());
        let candidates = if name.starts_with('$') { definitions.of_variable(name) } else { definitions.of_constant(name) };
        candidates.iter().map(|definition| (definition.line, definition.reach)).collect()
    }

    #[test]
    fn the_first_certain_define_is_in_effect() {
        assert_eq!(found("define('A', 1);\ndefine('A', 2);", "A"), [(1, Reach::Always)]);
        assert_eq!(found("if ($x) { define('A', 1); }\ndefine('A', 2);", "A"), [(1, Reach::Conditional), (2, Reach::Always)]);
        assert_eq!(found("if ($x) define('A', 1);\nelse\n\\Define ( \"A\" , 2 );", "A").len(), 2);
        assert_eq!(found("// define('A', 1);\n/* define('A', 2); */ $x->define('A', 3); 'define(\"A\", 4)';", "A"), []);
    }

    #[test]
    fn guards_are_told_from_conditions() {
        for guard in [
            "if (!defined('A')) define('A', 1);",
            "if ( ! defined( 'A' ) ) { define( 'A', 1 ); }",
            "if (!defined('A')): define('A', 1); endif;",
            "defined('A') || define('A', 1);",
            "defined('A') or define('A', 1);",
        ] {
            assert_eq!(found(guard, "A"), [(1, Reach::Guarded)], "{guard}");
        }
        for condition in [
            "if (!defined('B')) define('A', 1);",
            "if (defined('A')) { define('A', 1); }",
            "if (!defined('A') && $x) define('A', 1);",
            "if ($x): else: define('A', 1); endif;",
            "function f() { define('A', 1); }",
            "$x and define('A', 1);",
            "switch ($x) { case 1: define('A', 1); }",
        ] {
            assert_eq!(found(condition, "A"), [(1, Reach::Conditional)], "{condition}");
        }
        assert_eq!(found("if ($x): f(); endif; define('A', 1);", "A"), [(1, Reach::Always)]);
        assert_eq!(found("if ($x) { f(); } else { g(); } @define('A', 1);", "A"), [(1, Reach::Always)]);
    }

    #[test]
    fn what_is_nested_costs_no_more_than_its_size() {
        let times = |text: &str| text.repeat((1 << 20) / text.len());
        let word = "x".repeat(1 << 19);
        for hostile in [
            times("define('A',"),
            times("$p=$p."),
            times("$table_prefix="),
            times("include "),
            format!("if (({}", times("):")),
            format!("{word} {}", times("(:")),
            format!("if ({word}) {{ {}", times("$p=1;").split_at(1 << 19).0),
            format!("{}{}", "{".repeat(1 << 19), times("$p=1;").split_at(1 << 19).0),
            format!("const A = {}", times("A = 1,")),
        ] {
            let definitions = Definitions::read(format!("<?php {hostile}").as_bytes());
            assert!(definitions.all.iter().all(|definition| definition.value.len() <= EXPRESSION_LIMIT));
        }
        let long = format!("<?php const A = {}1, B = 2; define('C', {}1);", "1 . ".repeat(200), "1 . ".repeat(100));
        let definitions = Definitions::read(long.as_bytes());
        let values: Vec<_> = definitions.all.iter().map(|found| definitions.value(found).map(<[Token]>::len)).collect();
        assert_eq!(values, [None, Some(1), Some(201)]);
    }

    #[test]
    fn constants_and_variables() {
        assert_eq!(found("const A = 'x', B = [1, 2],\nC = 'y';", "C"), [(2, Reach::Always)]);
        assert_eq!(found("class K { const A = 'x'; }", "A"), []);
        assert_eq!(found("$p = 'a';\n$p = 'b';", "$p"), [(2, Reach::Always)]);
        assert_eq!(found("$p = 'a';\nif ($x) $p = 'b';", "$p"), [(1, Reach::Always), (2, Reach::Conditional)]);
        assert_eq!(found("$p = 'a';\nif (!isset($p)) { $p = 'b'; }", "$p"), [(1, Reach::Always)]);
        assert_eq!(found("$p .= 'a'; if ($p == 'x') {}", "$p"), [(1, Reach::Always)]);
    }

    #[test]
    fn an_include_makes_later_definitions_unsure() {
        let after = |source: &str| Definitions::read(source.as_bytes()).all.first().map(|definition| definition.after_include);
        assert_eq!(after("<?php require 'local.php'; define('A', 1);"), Some(true));
        assert_eq!(after("<?php require_once ABSPATH . 'wp-settings.php'; define('A', 1);"), Some(false));
    }
}

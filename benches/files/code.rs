//! Text of the kinds that plugins, themes and shops have. Each file uses few names of its own, again and again, as code does.

use std::fmt::Write as _;

use crate::content::Kind;
use crate::random::Random;
use crate::text::Text;

/// A file being written, and the names that it uses.
struct Writer<'a> {
    out: &'a mut String,
    random: &'a mut Random,
    text: &'a Text,
    names: Vec<String>,
}

/// At least `size` bytes of it.
pub(crate) fn write(kind: Kind, random: &mut Random, text: &Text, size: usize, out: &mut String) {
    let names = (0..8 + size.ilog2() * 4).map(|_| text.slug(random, 1)).collect();
    let mut writer = Writer { out, random, text, names };
    writer.begin(kind);
    while writer.out.len() < size {
        // To write into a string doesn't fail.
        let _ = match kind {
            Kind::Php => writer.php(),
            Kind::Js => writer.js(),
            Kind::Minified => writer.minified(),
            Kind::Map => writer.map(),
            Kind::Css => writer.css(),
            Kind::Svg => writer.svg(),
            Kind::Json => writer.json(),
            Kind::Po => writer.po(),
            Kind::Mo => writer.mo(),
            Kind::Log => writer.log(),
            Kind::Csv | Kind::Jpeg | Kind::Media => writer.csv(),
        };
    }
}

impl Writer<'_> {
    fn begin(&mut self, kind: Kind) {
        self.out.push_str(match kind {
            Kind::Php => "<?php\n/**\n * @package WordPress\n * @license GPL-2.0-or-later\n */\n\nnamespace Blog;\n\ndefined( 'ABSPATH' ) || exit;\n\n",
            Kind::Svg => "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 24 24\">\n",
            Kind::Js => "( function( $, wp ) {\n\t'use strict';\n\n",
            Kind::Map => "{\"version\":3,\"file\":\"index.js\",\"mappings\":\"",
            Kind::Json => "[\n",
            _ => "",
        });
    }

    /// One of the file's names, or now and then another word.
    fn name(&mut self) -> String {
        if self.random.percent(12) {
            return self.text.slug(self.random, 1);
        }
        let at = self.random.skewed(16) % self.names.len() as u64;
        self.names[at as usize].clone()
    }

    fn number(&mut self) -> u64 {
        self.random.skewed(10)
    }

    /// Of any words, and of the file's own.
    fn sentence(&mut self) -> String {
        let mut sentence = String::new();
        for _ in 0..2 + self.random.below(4) {
            let words = 1 + self.random.below(3);
            sentence += &self.text.words(self.random, words);
            sentence.push(' ');
            sentence += &self.name();
            sentence.push(' ');
        }
        sentence.truncate(sentence.trim_end().len());
        sentence
    }

    fn php(&mut self) -> std::fmt::Result {
        let (class, name, argument, other) = (self.name(), self.name(), self.name(), self.name());
        let (what, of) = (self.sentence(), self.sentence());
        write!(
            self.out,
            "\t/**\n\t * {what}.\n\t *\n\t * @since {}.{}.0\n\t * @param array  ${argument} {of}.\n\t * @return bool\n\t */\n\tpublic function {class}_{name}( ${argument}, ${other} = null ) {{\n",
            1 + self.random.below(9),
            self.random.below(10)
        )?;
        for _ in 0..2 + self.random.below(8) {
            let (left, right, key) = (self.name(), self.name(), self.name());
            match self.random.below(7) {
                0 => write!(self.out, "\t\tif ( ! isset( ${left}['{key}'] ) ) {{\n\t\t\treturn false;\n\t\t}}\n")?,
                1 => {
                    let message = self.sentence();
                    writeln!(self.out, "\t\t$this->{left} = esc_html__( '{message}', '{right}' );")?;
                }
                2 => writeln!(self.out, "\t\t${left} = apply_filters( '{class}_{key}', ${left}, $this->get_{right}() );")?,
                3 => {
                    write!(
                        self.out,
                        "\t\tforeach ( ${left} as $key => ${right} ) {{\n\t\t\t$this->{key}[ $key ] = (int) ${right};\n\t\t}}\n"
                    )?;
                }
                4 => {
                    let comment = self.sentence();
                    writeln!(self.out, "\t\t// {comment}.")?;
                }
                5 => writeln!(
                    self.out,
                    "\t\t${left} = self::{right}( array( '{key}' => ${argument}, 'limit' => {} ) );",
                    self.random.below(200)
                )?,
                _ => writeln!(
                    self.out,
                    "\t\tadd_action( '{left}_{right}', array( $this, '{key}' ), {} );",
                    5 + self.random.below(20)
                )?,
            }
        }
        write!(self.out, "\t\treturn true;\n\t}}\n\n")
    }

    fn js(&mut self) -> std::fmt::Result {
        let (name, argument, what) = (self.name(), self.name(), self.sentence());
        write!(self.out, "\t/**\n\t * {what}.\n\t */\n\twp.{name} = function( {argument}, options ) {{\n")?;
        for _ in 0..2 + self.random.below(7) {
            let (left, right, key) = (self.name(), self.name(), self.name());
            match self.random.below(4) {
                0 => writeln!(self.out, "\t\tconst {left} = {argument}.{right} || {};", self.random.below(100))?,
                1 => writeln!(self.out, "\t\t$( '.{left}-{right}' ).on( 'click', this.{key}.bind( this ) );")?,
                2 => write!(self.out, "\t\tif ( options.{left} === '{key}' ) {{\n\t\t\treturn {right}( {argument} );\n\t\t}}\n")?,
                _ => {
                    let message = self.sentence();
                    writeln!(self.out, "\t\twp.{left} = __( '{message}', '{right}' );")?;
                }
            }
        }
        write!(self.out, "\t\treturn {argument};\n\t}};\n\n")
    }

    fn letter(&mut self) -> char {
        char::from(b'a' + self.random.skewed(14) as u8 % 26)
    }

    fn minified(&mut self) -> std::fmt::Result {
        let (a, b, c) = (self.letter(), self.letter(), self.letter());
        let (name, key, number) = (self.name(), self.name(), self.number());
        match self.random.below(6) {
            0 => write!(self.out, "function {a}({b},{c}){{return {b}.{name}({c},\"{key}\",{number})}}"),
            1 => write!(self.out, "{a}.prototype.{name}=function({b}){{var {c}=this.{key};return null!={c}?{c}:{b}[{number}]}},"),
            2 => write!(self.out, "if(void 0!=={a}&&{b}.{name}<{number})throw new Error({c}({number}));"),
            3 => write!(self.out, "const {{{name}:{a},{key}:{b}}}=({c},{a}.{key})({number});"),
            4 => write!(self.out, "(0,{a}.jsx)({b}.{name},{{className:\"{key}\",size:{number},onClick:()=>{c}(!{b})}}),"),
            _ => write!(self.out, "{a}={b}.{name}?{c}.{key}:{a}+{number};"),
        }
    }

    fn map(&mut self) -> std::fmt::Result {
        // Mappings, and the sources that they map to.
        if self.random.percent(12) {
            return self.js();
        }
        const DIGITS: &[u8; 64] = b"AACCEDGIKSUMBFOHQYaWJcLegiNkPTVmRoXqbstuZdfhjlnprvwxyz0123456789";
        for _ in 0..12 {
            for at in 0..4 + self.random.below(2) {
                let digit = self.random.skewed(if at == 1 { 1 } else { 6 });
                self.out.push(char::from(DIGITS[digit as usize]));
            }
            self.out.push(if self.random.percent(15) { ';' } else { ',' });
        }
        Ok(())
    }

    fn css(&mut self) -> std::fmt::Result {
        let (block, element, state) = (self.name(), self.name(), self.name());
        writeln!(self.out, ".{block}-{element} .{block}__{state} {{")?;
        for _ in 0..1 + self.random.below(6) {
            let number = self.random.skewed(7);
            match self.random.below(6) {
                0 => writeln!(self.out, "\tmargin: 0 {number}px {}px;", self.random.skewed(6))?,
                1 => writeln!(self.out, "\tcolor: #{:06x};", self.random.skewed(24))?,
                2 => {
                    writeln!(self.out, "\tdisplay: {};", self.random.one_of(&["flex", "block", "none", "inline-block", "grid"]))?
                }
                3 => writeln!(self.out, "\tfont-size: {}.{}em;", self.random.below(3), self.random.below(100))?,
                4 => writeln!(self.out, "\tpadding: {number}px;")?,
                _ => writeln!(self.out, "\tbackground: url(../images/{element}-{number}.png) no-repeat;")?,
            }
        }
        self.out.push_str("}\n\n");
        Ok(())
    }

    fn svg(&mut self) -> std::fmt::Result {
        self.out.push_str("<path fill=\"#1e1e1e\" d=\"M");
        for _ in 0..6 + self.random.below(40) {
            let step = self.random.one_of(&["c", "l", "h", "v", "s", " ", " ", "-", "-"]);
            write!(self.out, "{step}{}.{}", self.random.skewed(4), self.random.below(100))?;
        }
        self.out.push_str("z\"/>\n");
        Ok(())
    }

    fn json(&mut self) -> std::fmt::Result {
        let (name, title, about, number) = (self.name(), self.name(), self.sentence(), self.number());
        writeln!(
            self.out,
            "\t{{ \"name\": \"{name}/{title}\", \"apiVersion\": 3, \"title\": \"{title}\", \"description\": \"{about}\", \"supports\": {{ \"html\": false, \"width\": {number} }} }},"
        )
    }

    fn po(&mut self) -> std::fmt::Result {
        let (file, of, to, line) = (self.name(), self.sentence(), self.sentence(), self.number());
        write!(self.out, "#: includes/class-{file}.php:{line}\nmsgid \"{of}\"\nmsgstr \"{to}\"\n\n")
    }

    fn mo(&mut self) -> std::fmt::Result {
        let (of, to) = (self.sentence(), self.sentence());
        write!(self.out, "{of}\0{to}\0")
    }

    fn log(&mut self) -> std::fmt::Result {
        let (name, key, id) = (self.name(), self.name(), self.random.below(1 << 20));
        let (day, second) = (1 + self.random.below(28), self.random.below(86_400));
        write!(self.out, "2025-07-{day:02}T{:02}:{:02}:{:02}+00:00 ", second / 3_600, second / 60 % 60, second % 60)?;
        match self.random.below(3) {
            0 => writeln!(self.out, "NOTICE Order {id}: {name}_{key} took {} ms", self.random.skewed(12)),
            1 => {
                let message = self.sentence();
                writeln!(
                    self.out,
                    "ERROR {message} in /var/www/html/wp-content/plugins/{name}/includes/{key}.php:{}",
                    self.random.skewed(10)
                )
            }
            _ => writeln!(
                self.out,
                "INFO Webhook {id} delivered: {{\"topic\":\"order.{name}\",\"status\":200,\"key\":\"{:016x}\"}}",
                self.random.next()
            ),
        }
    }

    fn csv(&mut self) -> std::fmt::Result {
        let (first, last, street) = (self.name(), self.name(), self.name());
        writeln!(
            self.out,
            "{},2025-{:02}-{:02},\"{first} {last}\",{first}.{last}@example.org,\"{} {street}\",{}.{:02},EUR,{}",
            self.random.below(1 << 20),
            1 + self.random.below(12),
            1 + self.random.below(28),
            1 + self.random.below(200),
            self.random.skewed(9),
            self.random.below(100),
            self.random.one_of(&["completed", "completed", "processing", "refunded", "cancelled"])
        )
    }
}

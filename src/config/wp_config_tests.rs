use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn site(wp_config: &str) -> (TempDir, WpConfig) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("wp-config.php"), wp_config).unwrap();
    let config = WpConfig::find(root.path()).unwrap();
    (root, config)
}

fn value(wp_config: &str, name: &'static str) -> Result<String, String> {
    let (_root, config) = site(&format!("<?php\n{wp_config}"));
    let found = if name == "$table_prefix" { config.table_prefix() } else { config.constant(name) };
    found.map(|defined| defined.value).map_err(|error| error.to_string())
}

#[test]
fn the_sample_of_wordpress_is_read() {
    let (_root, config) = site(
        "<?php\n/** The name of the database */\ndefine( 'DB_NAME', 'blog' );\n\ndefine( 'DB_USER', \"it's\" );\n\
         define('DB_PASSWORD','a\\\\b\\'c;#//\"$x');\nDEFINE ( 'DB_HOST' , 'localhost:/run/x.sock' ) ;\n\
         $table_prefix = 'wpx_';\nif ( ! defined( 'ABSPATH' ) ) {\n\tdefine( 'ABSPATH', __DIR__ . '/' );\n}\n\
         require_once ABSPATH . 'wp-settings.php';\n",
    );
    assert_eq!(config.constant("DB_NAME").unwrap(), Defined { value: "blog".to_owned(), line: 3 });
    assert_eq!(config.constant("DB_USER").unwrap().value, "it's");
    assert_eq!(config.constant("DB_PASSWORD").unwrap().value, "a\\b'c;#//\"$x");
    assert_eq!(config.constant("DB_HOST").unwrap().value, "localhost:/run/x.sock");
    assert_eq!(config.table_prefix().unwrap(), Defined { value: "wpx_".to_owned(), line: 8 });
    assert_eq!(config.optional_constant("WP_CONTENT_DIR").unwrap(), None);
    assert_eq!(config.layout(), Layout::Plain);
}

#[test]
fn a_value_costs_no_more_than_it_may_be_worth() {
    // Each constant names the one before it many times over.
    let joined = |name: &str, of: &str| format!("const {name} = {};\n", vec![of; 50].join(" . "));
    let names = ["A", "B", "C", "D", "E", "F", "DB_NAME"];
    let towers: String = names.windows(2).map(|pair| joined(pair[1], pair[0])).collect();
    assert!(value(&format!("const A = 'a';\n{towers}"), "DB_NAME").unwrap_err().contains("line 8: DB_NAME"));
    assert_eq!(value(&format!("const A = 'a';\n{}", joined("DB_NAME", "A")), "DB_NAME"), Ok("a".repeat(50)));
    let long = format!("const A = '{}';\n{}", "a".repeat(10_000), joined("DB_NAME", "A"));
    assert!(value(&long, "DB_NAME").unwrap_err().contains("is too long"));
}

#[test]
fn the_first_definition_holds_and_comments_define_nothing() {
    assert_eq!(
        value(
            "// define('DB_NAME', 'a');\n# define('DB_NAME', 'b');\ndefine('DB_NAME', 'c'); define('DB_NAME', 'd');",
            "DB_NAME"
        ),
        Ok("c".into())
    );
    assert_eq!(value("const DB_NAME = 'c';", "DB_NAME"), Ok("c".into()));
    assert_eq!(value("$table_prefix = 'a_'; $table_prefix = 'b_';", "$table_prefix"), Ok("b_".into()));
    assert_eq!(value("if ($x) { define('DB_NAME', 'c'); } else { define('DB_NAME', 'c'); }", "DB_NAME"), Ok("c".into()));
}

#[test]
fn what_is_not_certain_is_refused_by_name() {
    for (source, why) in [
        ("define('DB_NAME', getenv('NAME') ?: 'x');", "is taken from the environment: getenv('NAME')"),
        ("define('DB_NAME', getenv_docker('WORDPRESS_DB_NAME', 'wordpress'));", "getenv_docker('WORDPRESS_DB_NAME')"),
        ("define('DB_NAME', $_ENV['NAME']);", "is taken from the environment"),
        ("define('DB_NAME', trim('x'));", "is computed by trim()"),
        ("define('DB_NAME', \"a$x\");", "is not a plain string"),
        ("define('DB_NAME', 'a' . $x);", "is not a plain string"),
        ("define('DB_NAME', <<<X\nx\nX\n);", "is not a plain string"),
        ("if ($live) { define('DB_NAME', 'a'); } else {\ndefine('DB_NAME', 'b'); }", "line 3: DB_NAME depends on a condition"),
        ("include 'x.php'; if (!defined('DB_NAME')) define('DB_NAME', 'a');", "a file that is included"),
        ("", "does not define DB_NAME"),
    ] {
        let error = value(source, "DB_NAME").unwrap_err();
        assert!(error.contains(why), "{source}: {error}");
    }
    assert!(value("$table_prefix = getenv_docker('WORDPRESS_TABLE_PREFIX', 'wp_');", "$table_prefix").is_err());
    assert!(value("$table_prefix = 'a'; $table_prefix .= 'b';", "$table_prefix").is_err());
}

#[test]
fn directories_are_joined() {
    let (root, config) = site(
        "<?php define('A', __DIR__ . '/app'); define('B', dirname(__FILE__) . '/b'); define('C', ABSPATH . 'c'); \
         define('D', A . '/' . ('d')); define('E', dirname(__DIR__ . '/x/y', 2) . '/e'); define('F', F . 'x'); define('G', H . 'x');",
    );
    let path = |name| config.constant(name).map(|defined| PathBuf::from(defined.value));
    assert_eq!(path("A").unwrap(), root.path().join("app"));
    assert_eq!(path("B").unwrap(), root.path().join("b"));
    assert_eq!(path("C").unwrap(), root.path().join("c"));
    assert_eq!(path("D").unwrap(), root.path().join("app/d"));
    assert_eq!(path("E").unwrap(), root.path().join("e"));
    assert!(path("F").is_err() && path("G").is_err());
}

#[test]
fn the_file_above_counts_unless_it_belongs_to_another_wordpress() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("wordpress");
    fs::create_dir(&root).unwrap();
    assert!(matches!(WpConfig::find(&root), Err(WpConfigError::Missing { .. })));
    fs::write(above.path().join("wp-config.php"), "<?php define('DB_NAME', 'above');").unwrap();
    assert_eq!(WpConfig::find(&root).unwrap().path(), above.path().join("wp-config.php"));
    fs::write(above.path().join("wp-settings.php"), "").unwrap();
    let error = WpConfig::find(&root).unwrap_err();
    assert!(error.advice().unwrap().contains("wp_config"));
    fs::write(root.join("wp-config.php"), "<?php define('DB_NAME', 'own');").unwrap();
    assert_eq!(WpConfig::find(&root).unwrap().constant("DB_NAME").unwrap().value, "own");
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("wp-config.php");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    assert!(matches!(WpConfig::find(root.path()), Err(WpConfigError::Read { .. })));
    fs::remove_file(&path).unwrap();
    fs::write(&path, vec![b' '; SIZE_LIMIT as usize + 1]).unwrap();
    assert!(matches!(WpConfig::find(root.path()), Err(WpConfigError::TooLarge { .. })));
}

#[test]
fn layouts_that_keep_their_values_elsewhere_get_their_own_advice() {
    let advice = |source: &str| site(source).1.constant("DB_NAME").unwrap_err().advice().unwrap();
    let debian = "<?php $debian_file = '/etc/wordpress/config-'.strtolower($s).'.php'; require_once($debian_file);\n\
                  if (file_exists('/etc/wordpress/config-default.php')) {}\n\
                  if (!defined('DB_NAME')) define('DB_NAME', 'wordpress');";
    assert!(advice(debian).contains("wp_config = \"/etc/wordpress/config-"));
    let bedrock = "<?php require_once dirname(__DIR__) . '/config/application.php'; require_once ABSPATH . 'wp-settings.php';";
    assert!(advice(bedrock).contains("Bedrock"));
    assert!(advice("<?php require 'secrets.php';").contains("includes"));
}

#[test]
fn a_name_that_is_not_utf8_elsewhere_in_the_file_does_no_harm() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("wp-config.php"), b"<?php // caf\xe9\ndefine('DB_NAME', 'x'); define('DB_USER', '\xe9');")
        .unwrap();
    let config = WpConfig::find(root.path()).unwrap();
    assert_eq!(config.constant("DB_NAME").unwrap().value, "x");
    assert!(config.constant("DB_USER").unwrap_err().to_string().contains("is not UTF-8"));
}

proptest! {
    #[test]
    fn any_password_in_single_quotes_comes_back(password in r#"[ -~]{0,40}"#) {
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        prop_assert_eq!(value(&format!("define('DB_PASSWORD', '{quoted}');"), "DB_PASSWORD"), Ok(password));
    }

    #[test]
    fn no_nesting_is_a_problem(source in r"(define|\(|\)|'DB_NAME'|,|;|dirname|\.|__DIR__|DB_NAME|\{|\}|if|else|:|const|=| ){0,80}") {
        let _ = value(&source, "DB_NAME");
    }
}

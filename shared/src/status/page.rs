//! The page, and what a browser may do with it.

use data_encoding::BASE64;
use ring::digest::{SHA256, digest};
use std::sync::LazyLock;

/// One file, without anything from elsewhere. It asks for `/status.json` once a second.
pub const PAGE: &str = include_str!("page.html");

static POLICY: LazyLock<String> = LazyLock::new(content_security_policy);
static HEADERS: LazyLock<[(&str, &str); 1]> = LazyLock::new(|| [("Content-Security-Policy", &POLICY)]);

/// What the page is to be sent with, beside what all answers have.
pub fn page_headers() -> &'static [(&'static str, &'static str)] {
    &*HEADERS
}

/// The page's own script and style, by their hashes, and the status; nothing else.
fn content_security_policy() -> String {
    let hash = |tag: &str| match between(tag) {
        Some(text) => format!("'sha256-{}'", BASE64.encode(digest(&SHA256, text.as_bytes()).as_ref())),
        None => "'none'".to_owned(),
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

/// The text of the page's one element of this name.
fn between(tag: &str) -> Option<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_needs_nothing_from_elsewhere() {
        assert!(PAGE.len() < 60_000, "{} bytes", PAGE.len());
        for elsewhere in ["http://", "https://", "src=", "@import", "url(", "style=\"", " onclick="] {
            let allowed = usize::from(elsewhere == "http://");
            assert!(PAGE.matches(elsewhere).count() <= allowed, "{elsewhere}");
        }
        assert!(PAGE.contains("http://www.w3.org/2000/svg"));
    }

    #[test]
    fn there_is_one_script_and_one_style_and_both_are_allowed() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "{tag}");
        }
        let policy = content_security_policy();
        assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

//! Passwords from a file in libpq's format: lines `host:port:database:user:password`.

use crate::config::Given;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::MetadataExt;

/// Nobody but the owner may read a password file.
const OF_OTHERS: u32 = 0o077;

/// The password of the first line that fits; none where no line does, as in libpq. A field of the file is `*` for
/// anything. Fails where the file cannot be read, or others can.
pub(super) fn password(file: &Given, server: [&str; 4]) -> Result<Option<String>> {
    let text = read(&file.value).with_context(|| format!("{file} cannot be used"))?;
    Ok(text.lines().find_map(|line| password_of_line(line, server)))
}

fn read(path: &str) -> Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        bail!("it is not a file");
    }
    if metadata.mode() & OF_OTHERS != 0 {
        bail!("others than its owner can read or write it: chmod 0600 {path}");
    }
    Ok(std::fs::read_to_string(path)?)
}

fn password_of_line(line: &str, server: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    for expected in server {
        let (field, is_escaped, behind) = next_field(rest);
        if field != expected && (field != "*" || is_escaped) {
            return None;
        }
        rest = behind?;
    }
    let (password, ..) = next_field(rest);
    (!password.is_empty()).then_some(password)
}

/// A field without its escapes, whether it has any, and what is behind the colon that ends it.
fn next_field(text: &str) -> (String, bool, Option<&str>) {
    let (mut field, mut is_escaped) = (String::new(), false);
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ':' => return (field, is_escaped, Some(&text[at + 1..])),
            '\\' => {
                is_escaped = true;
                field.extend(characters.next().map(|(_, character)| character));
            }
            _ => field.push(character),
        }
    }
    (field, is_escaped, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let server = ["h", "5432", "d", "us:er"];
        for (line, expected) in [
            (r"h:5432:d:us\:er:secret", Some("secret")),
            (r"*:*:*:*:se\:cr\\et", Some(r"se:cr\et")),
            (r"*:*:*:us\:er:se cret ", Some("se cret ")),
            (r"\*:*:*:*:secret", None),
            ("h:5433:d:*:secret", None),
            ("h:5432:D:*:secret", None),
            ("#h:5432:d:*:secret", None),
            ("h:5432:d:*", None),
            ("h:5432:d:*:", None),
            ("*:*:*:*:secret:more", Some("secret")),
        ] {
            assert_eq!(password_of_line(line, server).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let path = std::env::temp_dir().join(format!("passfile-{}", std::process::id()));
        let file = Given::new("PGPASSFILE", path.to_str().unwrap());
        std::fs::write(&path, "# c\nother:*:*:*:no\r\n*:*:*:*:S3cret\r\n").unwrap();
        let permit = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        permit(0o600);
        assert_eq!(password(&file, ["h", "1", "d", "u"]).unwrap().as_deref(), Some("S3cret"));
        permit(0o640);
        let error = format!("{:#}", password(&file, ["h", "1", "d", "u"]).unwrap_err());
        assert!(error.starts_with("PGPASSFILE=/") && error.contains("chmod 0600"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(format!("{:#}", password(&file, ["h", "1", "d", "u"]).unwrap_err()).contains("No such file"));
    }
}

//! The databases of the demo in this directory, as its scripts know them: from `.env`, else by default.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The URLs of the demo's source and target. `variables` are the environment's, which win over those of the file.
pub(crate) fn urls(variables: &BTreeMap<String, String>) -> Result<(String, String)> {
    let file = variables.get("ENV_FILE").map(PathBuf::from);
    let mut settings = match &file {
        Some(file) => read(file)?,
        None if Path::new(".env").exists() => read(Path::new(".env"))?,
        None => BTreeMap::new(),
    };
    settings.extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
    let setting = |name: &str, default: &str| {
        settings.get(name).filter(|value| !value.is_empty()).map_or(default, String::as_str).to_owned()
    };
    let password = setting("POSTGRES_PASSWORD", "password");
    if !password.chars().all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c)) {
        bail!("POSTGRES_PASSWORD may contain only letters, digits and . _ ~ -");
    }
    let authority = Path::new(&setting("RUN_DIR", ".run")).join("secrets/tls/ca.crt");
    let tls = if authority.exists() {
        format!("?sslmode=verify-full&sslrootcert={}", authority.display())
    } else {
        String::new()
    };
    let url = |port: &str, default: &str| {
        format!("postgres://postgres:{password}@127.0.0.1:{}/transactions{tls}", setting(port, default))
    };
    Ok((url("POSTGRES_A_PORT", "5432"), url("POSTGRES_B_PORT", "5433")))
}

/// Lines NAME=value, as docker-compose reads them.
fn read(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let given = lines
        .map(|(number, line)| (number, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    given
        .map(|(number, line)| {
            // Without its text, which may be a password.
            let (name, value) = line
                .split_once('=')
                .with_context(|| format!("{}: line {} is not NAME=value", file.display(), number + 1))?;
            let quoted = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
            let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, variables: &[(&str, &str)]) -> Result<(String, String)> {
        let path = std::env::temp_dir().join(format!("ctl-env-{}-{}", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let file = ("ENV_FILE", path.to_str().unwrap());
        let variables = variables.iter().chain([&file]);
        let found = urls(&variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        std::fs::remove_file(&path).unwrap();
        found
    }

    #[test]
    fn the_environment_wins_over_the_file_and_that_over_the_defaults() {
        let text =
            "\u{feff}# a comment\nPOSTGRES_A_PORT=1\r\nPOSTGRES_B_PORT='2'\nPOSTGRES_PASSWORD=\"of.file\"\n";
        let (source, target) = with(text, &[("POSTGRES_B_PORT", "3"), ("RUN_DIR", "/nowhere")]).unwrap();
        assert_eq!(source, "postgres://postgres:of.file@127.0.0.1:1/transactions");
        assert_eq!(target, "postgres://postgres:of.file@127.0.0.1:3/transactions");
        let (source, _) = with("", &[("RUN_DIR", "/nowhere")]).unwrap();
        assert_eq!(source, "postgres://postgres:password@127.0.0.1:5432/transactions");
    }

    #[test]
    fn a_line_that_is_none_is_named_and_not_shown() {
        let error = format!("{:#}", with("\nS3cret\n", &[]).unwrap_err());
        assert!(error.contains("line 2 is not NAME=value") && !error.contains("S3cret"), "{error}");
        let error = format!("{:#}", with("POSTGRES_PASSWORD=a@S3cret", &[]).unwrap_err());
        assert!(error.contains("POSTGRES_PASSWORD may contain") && !error.contains("S3cret"), "{error}");
    }
}

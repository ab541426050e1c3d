//! Whoever reads it, and however: in the dark, on a telephone, by keyboard, by ear.

use super::browser::Browser;
use super::fixtures::{Known, catching_up, cut_off, healthy, held, paused, quiet, silent, unknown};
use super::server::{Answer, Server};
use serde_json::json;

type State = (&'static str, fn() -> Known);

const STATES: &[State] = &[
    ("healthy", healthy),
    ("quiet", quiet),
    ("catching-up", catching_up),
    ("paused", paused),
    ("held", held),
    ("silent", silent),
    ("unknown", unknown),
    ("cut-off", cut_off),
];

/// Of each element with text of its own, the least contrast with what is behind it: [contrast, text].
const LEAST_CONTRAST: &str = r"(() => {
  const parse = colour => { const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (above, below) => above.slice(0, 3).map((part, index) => part * above[3] + below[index] * (1 - above[3]));
  const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(part => { part /= 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; }); return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
  const ground = element => { const layers = []; for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor)); return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]); };
  const opacity = element => { let all = 1; for (let at = element; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity); return all; };
  let least = [99, 'nothing'];
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || ['SCRIPT', 'STYLE'].includes(element.tagName) || !element.checkVisibility()) continue;
    const behind = ground(element), style = getComputedStyle(element);
    const colour = parse(element.namespaceURI.endsWith('svg') ? style.fill : style.color);
    colour[3] *= opacity(element);
    const [one, other] = [light(over(colour, behind)), light(behind)].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < least[0]) least = [contrast, element.id + ' ' + element.className + ' ' + element.textContent.slice(0, 60)];
  }
  return least;
})()";

#[test]
fn every_text_has_contrast_in_light_and_dark() {
    let server = Server::start(healthy().document());
    let mut browser = Browser::start("contrast", 1280, 900);
    browser.open(&server.url);
    for (name, known) in STATES {
        let document = known().document();
        let sentence = document.verdict.sentence.clone();
        server.show(document);
        browser.wait_for_text("#sentence", &sentence);
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            let least = browser.look(LEAST_CONTRAST);
            assert!(least[0].as_f64().unwrap() >= 4.5, "{name}, {scheme}: {least}");
            assert!(least[1] != "nothing");
        }
    }
    server.answer(Answer::Refusal);
    browser.wait_for_text("#banner", "does not answer");
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        let least = browser.look(LEAST_CONTRAST);
        assert!(least[0].as_f64().unwrap() >= 4.5, "old numbers, {scheme}: {least}");
    }
}

#[test]
fn nothing_has_to_be_scrolled_sideways_on_a_telephone() {
    let server = Server::start(healthy().document());
    let mut browser = Browser::start("telephone", 320, 800);
    browser.open(&server.url);
    for (name, known) in STATES {
        let document = known().document();
        let sentence = document.verdict.sentence.clone();
        server.show(document);
        browser.wait_for_text("#sentence", &sentence);
        browser.look("document.querySelectorAll('details').forEach(details => { details.open = true; })");
        let width = browser.look("[document.documentElement.scrollWidth, innerWidth]");
        assert_eq!(width, json!([320, 320]), "{name}");
        browser.look("document.querySelectorAll('details').forEach(details => { details.open = false; })");
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            browser.keep_picture(&format!("{name}-{scheme}-320"));
        }
    }
    for width in [760, 1080, 1081, 2560] {
        browser.resize(width, 900);
        let shown = browser.look("document.documentElement.scrollWidth");
        assert_eq!(shown, json!(width));
    }
}

#[test]
fn a_screen_reader_is_told_what_is_seen() {
    let server = Server::start(held().document());
    let mut browser = Browser::start("by-ear", 1280, 900);
    browser.open(&server.url);
    browser.wait_for_text("#word", "HELD");
    browser.look("document.getElementById('lag-details').open = true");
    browser.wait_for_text("#lag-details", "the last minute");
    let told = browser.read_aloud();
    let is_told = |role: &str, name: &str| told.iter().any(|(r, n)| r == role && n.contains(name));
    for (role, name) in [
        ("heading", "Replication from PostgreSQL A to PostgreSQL B"),
        ("banner", ""),
        ("main", ""),
        ("contentinfo", ""),
        ("region", "State"),
        ("region", "The way of a change"),
        ("region", "Needs you (1)"),
        ("status", ""),
        ("StaticText", "HELD"),
        ("button", "Copy"),
        ("columnheader", "A, the source"),
        ("rowheader", "waiting"),
        ("rowheader", "the last minute"),
        ("columnheader", "until applied"),
    ] {
        assert!(is_told(role, name), "{role} {name:?} in {told:?}");
    }
    let charts = told.iter().filter(|(role, _)| role == "image" || role == "img");
    let charts: Vec<&String> = charts.map(|(_, name)| name).collect();
    assert_eq!(charts.len(), 2, "{charts:?}");
    assert!(charts[0].contains("the last 15 minutes") && charts[0].contains("at most"), "{charts:?}");
    let heard = browser.look("[...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].map(e => e.innerText.trim())");
    assert_eq!(heard, json!(["HELD"]), "only the headline speaks up by itself");
    assert_eq!(browser.look("document.querySelectorAll('h1').length"), json!(1));
    let scopes = "[...document.querySelectorAll('th')].filter(cell => !cell.scope).length";
    assert_eq!(browser.look(scopes), json!(0));
}

#[test]
fn all_that_can_be_done_can_be_done_by_keyboard() {
    let server = Server::start(held().document());
    let mut browser = Browser::start("keyboard", 1280, 900);
    browser.open(&server.url);
    browser.wait_for_text("#needs", "Needs you (1)");
    let mut reached = Vec::new();
    for _ in 0..12 {
        browser.press("Tab", 9);
        let focused = browser.look("document.activeElement.innerText?.split('\\n')[0] ?? ''");
        let outline = browser.look("getComputedStyle(document.activeElement).outlineStyle");
        if browser.look("document.activeElement !== document.body") == json!(true) {
            assert_eq!(outline, json!("solid"), "{focused} does not show that it has the focus");
        }
        if focused == json!("Show as table") && !reached.contains(&focused) {
            browser.press("Enter", 13);
            browser.wait_for_text("#lag-details", "the last minute");
        }
        reached.push(focused);
    }
    for name in ["Copy", "Show as table"] {
        assert!(reached.contains(&json!(name)), "{name} in {reached:?}");
    }
}

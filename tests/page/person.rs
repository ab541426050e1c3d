//! What a person has set, does, and hears.

use super::browser::Browser;
use serde_json::{Value, json};

impl Browser {
    /// As a person has set it: `dark` or `light`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}
        ]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Presses a key that is no character.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", &event);
        }
        if key == "Enter" {
            self.call("Input.dispatchKeyEvent", &json!({"type": "char", "text": "\r", "key": "Enter"}));
        }
    }

    /// What a screen reader is told: role and name of all that is not ignored, in order.
    pub(crate) fn read_aloud(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let text = |node: &Value, field: &str| node[field]["value"].as_str().unwrap_or("").to_owned();
        let nodes = tree["nodes"].as_array().unwrap();
        nodes
            .iter()
            .filter(|node| node["ignored"] != json!(true))
            .map(|node| (text(node, "role"), text(node, "name")))
            .collect()
    }
}

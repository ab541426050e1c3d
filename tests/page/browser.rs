//! A headless Chromium, driven over its `DevTools` protocol. It listens on no port: what is said goes through pipes, and it
//! ends when this process does.

use crossbeam_channel::{Receiver, bounded};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// A loaded machine takes long to start a browser.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Messages that nobody has read yet.
const MESSAGES: usize = 10_000;

pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: String,
    directory: PathBuf,
}

impl Browser {
    /// A window of this size, with a page that is not there yet.
    pub(crate) fn start(name: &str, width: u32, height: u32) -> Browser {
        let directory = std::env::temp_dir().join(format!("page-{}-{name}", std::process::id()));
        // The pipes are its descriptors 3 and 4.
        let mut child = Command::new("bash")
            .args(["-c", r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null"#, "chromium"])
            .args(["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"])
            // As root it has no sandbox; it shows nothing but our page.
            .args([
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--force-color-profile=srgb",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", directory.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, messages) = bounded(MESSAGES);
        Builder::new()
            .spawn(move || {
                for message in BufReader::new(output).split(0) {
                    let message = serde_json::from_slice(&message.unwrap_or_default());
                    let Ok(message) = message else { return };
                    if sender.send(message).is_err() {
                        return;
                    }
                }
            })
            .unwrap();
        let mut browser = Browser { child, input, messages, last_id: 0, session: String::new(), directory };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser.call("Page.enable", &json!({}));
        browser.resize(width, height);
        browser
    }

    /// Asks the browser, and waits for its answer.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.input.write_all(message.to_string().as_bytes()).unwrap();
        self.input.write_all(&[0]).unwrap();
        let deadline = Instant::now() + ANSWER_DEADLINE;
        loop {
            let answer = self.messages.recv_deadline(deadline);
            let answer = answer.unwrap_or_else(|error| panic!("chromium does not answer {method}: {error}"));
            if answer["id"] == json!(self.last_id) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", &json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What a script says that looks at the page.
    pub(crate) fn look(&mut self, script: &str) -> Value {
        let looked = self.call(
            "Runtime.evaluate",
            &json!({"expression": script, "returnByValue": true, "awaitPromise": true}),
        );
        assert!(looked["exceptionDetails"].is_null(), "{script}: {}", looked["exceptionDetails"]);
        looked["result"]["value"].clone()
    }

    /// The text that a person sees there.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let script = format!("document.querySelector({})?.innerText ?? ''", json!(selector));
        self.look(&script).as_str().unwrap().to_owned()
    }

    pub(crate) fn title(&mut self) -> String {
        self.look("document.title").as_str().unwrap().to_owned()
    }

    /// Waits until the page's text of a selector is as expected.
    pub(crate) fn wait_for_text(&mut self, selector: &str, expected: &str) -> String {
        let deadline = Instant::now() + ANSWER_DEADLINE;
        loop {
            let text = self.text(selector);
            if text.contains(expected) {
                return text;
            }
            assert!(Instant::now() < deadline, "{selector} does not say {expected:?} but {text:?}");
            // The page itself looks once a second.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Keeps a picture of the whole page in the directory that `PAGE_SCREENSHOTS` names, if it does.
    pub(crate) fn keep_picture(&mut self, name: &str) {
        self.keep_picture_down_to(name, "footer");
    }

    /// The same, down to the end of this element.
    pub(crate) fn keep_picture_down_to(&mut self, name: &str, selector: &str) {
        let directory = shared::config::Environment::read().optional("PAGE_SCREENSHOTS").map(PathBuf::from);
        let Some(directory) = directory else { return };
        let size = self.look(&format!(
            "(() => {{ const end = document.querySelector({}).getBoundingClientRect().bottom + scrollY; \
             return [document.documentElement.clientWidth, Math.ceil(end + 8)]; }})()",
            json!(selector)
        ));
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let picture = self.call(
            "Page.captureScreenshot",
            &json!({"format": "png", "clip": clip, "captureBeyondViewport": true}),
        );
        let picture = data_encoding::BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.png")), picture).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

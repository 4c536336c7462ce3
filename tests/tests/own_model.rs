//! The walk of an author who brings a model: the commands of the guide "Your own model", as they are written there.

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use oraculum_tests::{Res, models, node::binary};
use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The commands of the guide.
fn commands() -> Res<Vec<String>> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/your-own-model.md");
    let text = fs::read_to_string(guide)?;
    let block =
        text.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).ok_or("no commands in the guide")?;
    Ok(block.lines().map(str::to_owned).collect())
}

fn copy(from: &Path, to: &Path) -> Res<()> {
    fs::create_dir_all(to)?;
    for name in ["card.json", "details.json", "model.onnx"] {
        fs::copy(from.join(name), to.join(name))?;
    }
    Ok(())
}

/// An author's folder, and `oraculum dev` in it.
struct Walk {
    home: tempfile::TempDir,
    dev: Option<Child>,
    url: String,
}

impl Drop for Walk {
    fn drop(&mut self) {
        if let Some(dev) = &mut self.dev {
            let _ = dev.kill();
            let _ = dev.wait();
        }
    }
}

impl Walk {
    fn begin() -> Res<Self> {
        let home = tempfile::tempdir()?;
        copy(&models::folder().join("iris"), &home.path().join("onnx-models/iris"))?;
        fs::copy(models::folder().join("iris/model.onnx"), home.path().join("wine.onnx"))?;
        Ok(Self { home, dev: None, url: String::new() })
    }

    /// A shell that runs a line as it is typed, with this binary as `oraculum`.
    fn shell(&self, line: &str) -> Res<Command> {
        let folder = binary()?.parent().map(PathBuf::from).ok_or("no folder")?;
        let mut command = Command::new("sh");
        let path = std::env::join_paths(
            std::iter::once(folder).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        )?;
        command
            .args(["-c", line])
            .current_dir(self.home.path())
            .env("PATH", path)
            .env("ORACULUM_CHAIN_RPC_URLS", &self.url);
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Starts the chain on a free port, and waits until it is ready.
    fn dev(&mut self, line: &str) -> Res<()> {
        let log = fs::File::create(self.home.path().join("dev.log"))?;
        let mut command = self.shell(&format!("exec {line} --port 0 --json"))?;
        let mut dev = command.env_remove("ORACULUM_CHAIN_RPC_URLS").stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = BufReader::new(dev.stdout.take().ok_or("no output")?);
        self.dev = Some(dev);
        let told = serde_json::Deserializer::from_reader(output).into_iter::<Value>().next();
        let deployment = told.ok_or_else(|| format!("dev ended: {}", self.log()))??;
        self.url = deployment["rpcUrl"].as_str().ok_or("no URL")?.to_owned();
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("dev.log")).unwrap_or_default()
    }

    /// Waits until the chain's log has a line with all of some words.
    fn wait_for(&self, words: &[&str]) -> Res<()> {
        let began = Instant::now();
        while !self.log().lines().any(|line| words.iter().all(|word| line.contains(word))) {
            if began.elapsed() > PATIENCE {
                return Err(format!("no line with {words:?}:\n{}", self.log()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn run(&self, line: &str) -> Res<Output> {
        Ok(self.shell(line)?.output()?)
    }

    /// What a command that succeeds writes to standard output.
    fn output(&self, line: &str) -> Res<String> {
        let output = self.run(line)?;
        if !output.status.success() {
            return Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[test]
fn the_five_commands_of_the_guide_lead_from_a_file_to_an_answer() -> Res<()> {
    let commands = commands()?;
    let [dev, infer, new, inspect, request] = &commands[..] else { return Err("the guide has five commands".into()) };
    let mut walk = Walk::begin()?;
    walk.dev(dev)?;
    let ran: Value = serde_json::from_str(&walk.output(infer)?)?;
    let made = walk.output(new)?;
    let (name, id) = made.trim().split_once("  ").ok_or("no id")?;
    assert_eq!(name, "wine/v1");
    walk.wait_for(&[&format!("wine/v1 {id} is served")])?;
    let inspected = walk.output(inspect)?;
    assert!(
        inspected.contains("input      features FP32 [-1,4]") && inspected.contains("red, white, rose"),
        "{inspected}"
    );
    let answer = walk.output(request)?;
    // The winner comes first, and is what ONNX Runtime makes of the same input without a chain.
    let expected = ran["outputs"][0]["data"][0].as_f64().ok_or("no number")?;
    let first = answer.trim().strip_prefix("probabilities FP64 [1,3]: red ").ok_or(format!("{answer:?}"))?;
    let found: f64 = first.split(',').next().ok_or("no number")?.parse()?;
    assert!((found - expected).abs() < 2e-6, "{found}, and off the chain {expected}");
    Ok(())
}

#[test]
fn a_running_chain_takes_models_as_their_folders_change() -> Res<()> {
    let mut walk = Walk::begin()?;
    walk.dev("oraculum dev")?;
    let asks = "oraculum request --model wine/v1 --input '[[5.1,3.5,1.4,0.2]]' --json";
    let first = walk.output("oraculum model new wine.onnx")?.trim().replace("  ", " ");
    walk.wait_for(&[&first, "is served"])?;
    // Another card under the same name: the name is pointed to it, and the first is asked by its id.
    let second = walk.output("oraculum model new wine.onnx --replace --licence MIT")?.trim().replace("  ", " ");
    assert_ne!(first, second);
    walk.wait_for(&[&second, "is served", "had the name"])?;
    let answer: Value = serde_json::from_str(&walk.output(asks)?)?;
    assert!(second.ends_with(answer["modelId"].as_str().ok_or("no id")?), "{answer}");
    let packed = answer_input();
    let by_id = asks
        .replace("wine/v1", first.split(' ').nth(1).ok_or("no id")?)
        .replace("--input '[[5.1,3.5,1.4,0.2]]'", &packed);
    assert_eq!(serde_json::from_str::<Value>(&walk.output(&by_id)?)?["outcome"], "Ok");

    // What is unsound is told of once; mended, it is served.
    let broken = walk.home.path().join("onnx-models/digits");
    copy(&models::folder().join("digits"), &broken)?;
    fs::write(broken.join("details.json"), "{}")?;
    walk.wait_for(&["digits", "is not served", "details.json has SHA-256"])?;
    fs::copy(models::folder().join("digits/details.json"), broken.join("details.json"))?;
    walk.wait_for(&["digits/v1 0x", "is served"])?;
    assert_eq!(
        walk.log().lines().filter(|line| line.contains("this model is not served")).count(),
        1,
        "{}",
        walk.log()
    );

    walk.output("oraculum model remove wine/v1")?;
    walk.wait_for(&["wine-v1", "folder is gone"])?;
    assert_eq!(serde_json::from_str::<Value>(&walk.output(&by_id)?)?["outcome"], "Ok");
    Ok(())
}

/// The four numbers, packed by hand: the request needs no description of the model.
fn answer_input() -> String {
    "--input-hex 0x010c0002000000010000000440a33333406000003fb333333e4ccccd".to_owned()
}

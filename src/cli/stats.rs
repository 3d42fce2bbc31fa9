//! `passerby stats`: what happens, in numbers.

use serde_json::Value;

use super::api::Api;
use super::outcome::{Failure, print};
use super::remote::{Remote, number};
use super::table::Table;

pub(super) async fn stats(api: &Api, remote: &Remote) -> Result<(), Failure> {
    let answer = api.ask("GET", "/v1/admin/overview", None).await?;
    remote.show(&answer, show);
    Ok(())
}

fn show(answer: &Value) {
    let mut now = Table::pairs();
    for (name, value) in answer["now"].as_object().into_iter().flatten() {
        let value = match name.strip_suffix("_bytes") {
            Some(_) => value.as_u64().map(size).unwrap_or_default(),
            None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        };
        now.pair(&name.replace("_bytes", "").replace('_', " "), value);
    }
    now.print();
    print("\n");
    let sum = |span: &str, name: &str| {
        let numbers = answer[span]["series"][name].as_array().into_iter().flatten();
        numbers.filter_map(Value::as_u64).sum::<u64>().to_string()
    };
    let mut lately = Table::new(["", "LAST HOUR", "30 DAYS"]);
    for name in answer["hour"]["series"].as_object().into_iter().flatten().map(|(name, _)| name) {
        lately.row([name.replace('_', " ").into(), sum("hour", name).into(), sum("month", name).into()]);
    }
    for code in answer["refusals"]["month"].as_object().into_iter().flatten().map(|(code, _)| code) {
        let of = |span: &str| number(&answer["refusals"][span], code);
        lately.row([format!("refused: {code}").into(), of("hour").into(), of("month").into()]);
    }
    lately.print();
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (bytes, 0, "B");
    for larger in UNITS {
        if whole < 1024 {
            break;
        }
        (tenths, whole, unit) = (whole % 1024 * 10 / 1024, whole / 1024, larger);
    }
    if unit == "B" { format!("{whole} {unit}") } else { format!("{whole}.{tenths} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_a_unit_that_people_read() {
        let cases =
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 << 20, "1.5 GiB"), (u64::MAX, "16777215.9 TiB")];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }
}

//! The two forms in which metrics are read, and which one a request asks for.

use std::collections::HashSet;

use actix_web::http::header::{self, HeaderMap};

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, which more tools read.
    Text,
}

impl Form {
    /// What a request asks for: the form that it likes better; the text where it takes anything. Without a word OpenMetrics.
    pub(crate) fn asked_for(headers: &HeaderMap) -> Self {
        let accept: Vec<&str> = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok()).collect();
        if accept.is_empty() {
            return Self::OpenMetrics;
        }
        let quality = |wanted: &str| {
            let ranges = accept.iter().flat_map(|value| value.split(','));
            let qualities = ranges.filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_it = parts.next()?.eq_ignore_ascii_case(wanted);
                let q = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
                is_it.then_some(q?)
            });
            qualities.fold(0.0, f32::max)
        };
        let open_metrics = quality("application/openmetrics-text");
        let text = quality("text/plain");
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics as the older text: a counter is described under its whole name, and there are no units and no end.
pub(crate) fn as_text(open_metrics: &str) -> String {
    let counters: HashSet<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let described = line.strip_prefix("# ").and_then(|line| {
            let (what, rest) = line.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            counters.contains(name).then_some((what, name, rest))
        });
        match described {
            Some((what, name, rest)) => text.extend(["# ", what, " ", name, "_total ", rest]),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_request_gets_the_form_that_it_asks_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, form) in [
            (prometheus, Form::OpenMetrics),
            ("application/openmetrics-text", Form::OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", Form::OpenMetrics),
            ("text/plain; version=0.0.4", Form::Text),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Form::Text),
            ("text/plain, application/openmetrics-text;q=0.5", Form::Text),
            ("application/openmetrics-text;q=0, text/plain", Form::Text),
            ("application/openmetrics-text; q=x", Form::Text),
            ("*/*", Form::Text),
            ("application/json", Form::Text),
            ("", Form::Text),
        ] {
            let request = TestRequest::get().insert_header(("accept", accept)).to_http_request();
            assert_eq!(Form::asked_for(request.headers()), form, "{accept}");
        }
        assert_eq!(Form::asked_for(&HeaderMap::new()), Form::OpenMetrics);
    }

    #[test]
    fn the_older_text_names_counters_whole_and_knows_no_units() {
        let open_metrics = "# HELP a_b Some.\n# TYPE a_b counter\na_b_total 3\n# HELP a_s Others.\n# TYPE a_s gauge\n# UNIT a_s s\na_s 4\n# EOF\n";
        let text = "# HELP a_b_total Some.\n# TYPE a_b_total counter\na_b_total 3\n# HELP a_s Others.\n# TYPE a_s gauge\na_s 4\n";
        assert_eq!(as_text(open_metrics), text);
    }
}

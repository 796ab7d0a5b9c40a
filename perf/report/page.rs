//! One page that needs nothing else.

use super::{Facts, plot};
use crate::bars::judge;
use crate::broker::Side;
use crate::series::Line;
use crate::stats::Spread;
use ottla::bench::Metric;
use ottla::bench::table::short;
use std::fmt::Write as _;
use std::io;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0;width:100%}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}\
td:first-child,th:first-child{text-align:left}.met{background:#e3f4e3}.miss{background:#fbe3e0}\
dt{font-weight:bold}svg{max-width:100%;height:auto}code{background:#f4f4f4}";

/// What is the same in all of it.
const METHOD: &[&str] = &[
    "One generator, one thread, drives both brokers with the same requests. With a rate the loop is open: a latency counts \
     from the moment when a record should have been sent, so a pause of the broker is seen by every record that it delays. \
     Without one the loop is closed: each acknowledgement sends the next request, and latency counts from sending.",
    "Every record carries its producer, its number and its intended send time. Every run checks all of them: offsets follow \
     one another, each producer's records come back once, in order and unchanged, at the offsets that were acknowledged. \
     A run that fails this has no figures.",
    "Brokers run in turn, A B B A, each run with a new process and a new directory on the same file system. Figures are \
     medians of the rounds, with minimum and maximum.",
    "CPU time is what the kernel charges to the broker's control group, user and system. Over loopback the sender's system \
     call runs the receiver's side of TCP as well, in a soft interrupt: the client's sends do some of the broker's receiving, \
     and the broker's sends some of the client's, for both brokers alike. Write-back of the page cache runs in kernel threads \
     and is charged to nobody: that is work of Kafka's disk path, and of Ottla's journal, that their figures do not show.",
    "Loopback never avoids a copy: sendfile and zero-copy sends are copied by the kernel before they are received. With a \
     network card both brokers would be cheaper.",
    "V: neither broker flushes before it acknowledges, Kafka's default: the page cache has the record then, which outlives the \
     broker and not the machine. D: flush.messages=1 on both. Ours durable: on Ottla only.",
];

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cell(spread: Option<&Spread>) -> String {
    spread.map_or("–".to_owned(), |spread| {
        format!("<b>{}</b> ({} – {})", short(spread.median()), short(spread.min()), short(spread.max()))
    })
}

/// The page.
pub fn page(facts: &Facts, lines: &[Line]) -> io::Result<String> {
    let mut html = format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>Ottla beside Apache Kafka</title>\
         <style>{STYLE}</style><h1>Ottla beside Apache Kafka</h1><dl>"
    );
    for (name, text) in &facts.0 {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(text));
    }
    html.push_str("</dl><h2>Method</h2>");
    for paragraph in METHOD {
        let _ = write!(html, "<p>{}</p>", escape(paragraph));
    }
    bars(&mut html, lines);
    if let Some(svg) = plot::loads(lines)? {
        let _ = write!(html, "<h2>Latency by load</h2>{svg}");
    }
    for line in lines {
        one(&mut html, line)?;
    }
    html.push_str("</html>\n");
    Ok(html)
}

fn bars(html: &mut String, lines: &[Line]) {
    let verdicts = judge(lines);
    if verdicts.is_empty() {
        return;
    }
    html.push_str("<h2>Bars</h2><table><tr><th>case<th>figure<th>Ottla<th>Kafka<th>found<th>bar<th></tr>");
    for verdict in verdicts {
        let (bar, class) = (verdict.bar, if verdict.met { "met" } else { "miss" });
        let line = lines.iter().find(|line| line.work.name() == bar.case);
        let spread = |side| cell(line.and_then(|line| line.spread(side, bar.metric)).as_ref());
        let _ = write!(
            html,
            "<tr class=\"{class}\"><td>{}<td>{}, {}<td>{}<td>{}<td>{}<td>{}<td>{class}</tr>",
            bar.case,
            bar.metric.title(),
            bar.metric.unit(),
            spread(Side::Ottla),
            spread(Side::Kafka),
            short(verdict.found),
            escape(&verdict.rule()),
        );
    }
    html.push_str("</table>");
}

fn one(html: &mut String, line: &Line) -> io::Result<()> {
    let rate = line.rate.map_or(String::new(), |rate| format!(" ({} records/s)", short(rate)));
    let _ = write!(
        html,
        "<h2>{}</h2><p>{}{rate}</p><table><tr><th>median (minimum – maximum)<th>Ottla<th>Kafka<th>Ottla / Kafka</tr>",
        escape(&line.work.name()),
        escape(&line.work.describe())
    );
    for (metric, _, title, unit) in Metric::ALL {
        let (ours, theirs) = (line.spread(Side::Ottla, *metric), line.spread(Side::Kafka, *metric));
        if ours.is_none() && theirs.is_none() {
            continue;
        }
        let ratio = match (&ours, &theirs) {
            (Some(ours), Some(theirs)) => short(ours.median() / theirs.median()),
            _ => "–".to_owned(),
        };
        let (ours, theirs) = (cell(ours.as_ref()), cell(theirs.as_ref()));
        let _ = write!(html, "<tr><td>{title}, {unit}<td>{ours}<td>{theirs}<td>{ratio}</tr>");
    }
    html.push_str("</table>");
    for failure in &line.failures {
        let _ = write!(html, "<p class=\"miss\">{}</p>", escape(failure));
    }
    if let Some(svg) = plot::percentiles(line)? {
        html.push_str(&svg);
    }
    Ok(())
}

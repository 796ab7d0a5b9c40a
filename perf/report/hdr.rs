//! Raw histograms in HdrHistogram's V2 format, which its own tools read: one file for each run.

use crate::series::Line;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};
use std::fs;
use std::io;
use std::path::Path;

/// Writes those of one line; nanoseconds.
pub fn write(dir: &Path, line: &Line) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut bytes = Vec::new();
    for (side, samples) in &line.samples {
        for (round, sample) in samples.iter().enumerate() {
            for (what, histogram) in
                [("acknowledged", &sample.acknowledged_ns), ("end-to-end", &sample.end_to_end_ns)]
            {
                if histogram.is_empty() {
                    continue;
                }
                bytes.clear();
                V2Serializer::new().serialize(histogram, &mut bytes).map_err(io::Error::other)?;
                let side = side.name().to_lowercase();
                let name = format!("{}.{side}.{round}.{what}.hdr", file_name(&line.work.name()));
                fs::write(dir.join(name), &bytes)?;
            }
        }
    }
    Ok(())
}

/// A name without what a file should not have in its.
pub fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

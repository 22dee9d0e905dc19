//! QR codes (ISO/IEC 18004) as SVG without any styling, so that a page with a strict policy can hold them.

use qrcodegen::{Mask, QrCode, QrCodeEcc, QrSegment, Version};

/// Light modules around the code, as the standard wants it.
const QUIET: usize = 4;

/// The pattern laid over the data so that no large area has one colour. Readers find out which it is. The standard lets an
/// encoder try all eight for the one that looks best: for the random characters of a link all look alike, and trying takes
/// ten times as long as the rest.
const MASK: u8 = 0;

/// The code of a text, black on white whatever is around it. Empty when the text is too long for one (about 2,000 bytes).
pub fn svg(text: &str) -> String {
    let Some(modules) = encode(text) else { return String::new() };
    let side = modules.len() + 2 * QUIET;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" width="{pixels}" height="{pixels}" shape-rendering="crispEdges" role="img" aria-label="QR code of this link"><path fill="#fff" d="M0 0h{side}v{side}H0z"/><path fill="#000" d=""##,
        pixels = side * 5,
    );
    for (y, row) in modules.iter().enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run.first() == Some(&true) {
                paint(&mut svg, x + QUIET, y + QUIET, run.len());
            }
            x += run.len();
        }
    }
    svg.push_str("\"/></svg>");
    svg
}

/// The rows of the code; true is dark.
fn encode(text: &str) -> Option<Vec<Vec<bool>>> {
    let segments = QrSegment::make_segments(text);
    let mask = Some(Mask::new(MASK));
    let code = QrCode::encode_segments_advanced(
        &segments,
        QrCodeEcc::Medium,
        Version::MIN,
        Version::MAX,
        mask,
        false,
    )
    .ok()?;
    let side = 0..code.size();
    Some(side.clone().map(|y| side.clone().map(|x| code.get_module(x, y)).collect()).collect())
}

/// A row of dark modules. There are hundreds in a code, and `write!` takes three times as long.
fn paint(path: &mut String, x: usize, y: usize, width: usize) {
    let mut number = itoa::Buffer::new();
    path.push('M');
    path.push_str(number.format(x));
    path.push(' ');
    path.push_str(number.format(y));
    let width = number.format(width);
    for part in ["h", width, "v1h-", width, "z"] {
        path.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that the paths paint.
    fn painted(svg: &str, side: usize) -> Vec<Vec<bool>> {
        let path = svg.split("fill=\"#000\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let mut modules = vec![vec![false; side]; side];
        for run in path.split('M').skip(1) {
            let (x, rest) = run.split_once(' ').unwrap();
            let (y, rest) = rest.split_once('h').unwrap();
            let (len, back) = rest.split_once('v').unwrap();
            assert_eq!(back, format!("1h-{len}z"));
            let (x, y, len): (usize, usize, usize) =
                (x.parse().unwrap(), y.parse().unwrap(), len.parse().unwrap());
            modules[y][x..x + len].fill(true);
        }
        modules
    }

    #[test]
    fn what_is_painted_is_the_code() {
        let text = "https://files.example.org/s/4fR9xQ0bZk1T";
        let svg = svg(text);
        let code = encode(text).unwrap();
        let side = code.len() + 2 * QUIET;
        assert!(svg.contains(&format!("viewBox=\"0 0 {side} {side}\"")));
        for (y, row) in painted(&svg, side).iter().enumerate() {
            for (x, &dark) in row.iter().enumerate() {
                let inside = (QUIET..side - QUIET).contains(&x) && (QUIET..side - QUIET).contains(&y);
                assert_eq!(dark, inside && code[y - QUIET][x - QUIET], "{x} {y}");
            }
        }
    }

    #[test]
    fn nothing_in_it_needs_a_looser_policy() {
        let svg = svg("https://example.org/s/x");
        assert!(!svg.contains("style") && !svg.contains("script") && !svg.contains("<?xml"));
        assert_eq!(super::svg(&"x".repeat(5_000)), "");
    }
}

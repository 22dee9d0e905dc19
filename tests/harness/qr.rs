//! QR codes as a phone sees them.

/// What a phone reads from a QR code drawn as SVG.
pub fn read_qr(svg: &str) -> String {
    let rectangles = modules(svg);
    let extent =
        rectangles.iter().map(|[_, _, right, bottom]| (*right).max(*bottom)).max().expect("something dark");
    let module =
        rectangles.iter().map(|[left, top, right, bottom]| (right - left).min(bottom - top)).min().unwrap();
    // A few pixels a module, and a quiet zone, as the camera sees it.
    let (scale, margin) = (8_usize.div_ceil(module), 64);
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(
        extent * scale + 2 * margin,
        extent * scale + 2 * margin,
        |x, y| {
            let (Some(x), Some(y)) = (x.checked_sub(margin), y.checked_sub(margin)) else { return 255 };
            let (x, y) = (x / scale, y / scale);
            let dark = |[left, top, right, bottom]: &[usize; 4]| {
                (*left..*right).contains(&x) && (*top..*bottom).contains(&y)
            };
            if rectangles.iter().any(dark) { 0 } else { 255 }
        },
    );
    let codes = picture.detect_grids();
    assert_eq!(codes.len(), 1, "one code in the picture");
    codes[0].decode().expect("it is readable").1
}

/// The dark modules of a QR code drawn as SVG: rectangles as subpaths of black paths made of `M`, `h`, `v`, `H`, `V`, `z`.
fn modules(svg: &str) -> Vec<[usize; 4]> {
    let mut rectangles = Vec::new();
    for path in svg.split("<path").skip(1).filter(|path| path.split('>').next().unwrap().contains("#000")) {
        let path = path
            .split(" d=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a path has d")
            .to_owned();
        for subpath in path.split('M').skip(1) {
            let commands = subpath.replace(['z', 'Z'], "").replace(',', " ");
            let numbers = |text: &str| -> Vec<i64> {
                text.split_whitespace().map(|number| number.parse().expect("whole numbers")).collect()
            };
            let end = commands.find(|c: char| c.is_alphabetic()).expect("a rectangle has sides");
            let start = numbers(&commands[..end]);
            let (mut at, mut corners) = ([start[0], start[1]], vec![[start[0], start[1]]]);
            let mut rest = &commands[end..];
            while let Some(command) = rest.chars().next() {
                let end = rest[1..].find(|c: char| c.is_alphabetic()).map_or(rest.len(), |end| end + 1);
                let value = numbers(&rest[1..end])[0];
                match command {
                    'h' => at[0] += value,
                    'H' => at[0] = value,
                    'v' => at[1] += value,
                    'V' => at[1] = value,
                    other => panic!("{other} is not a side of a rectangle"),
                }
                corners.push(at);
                rest = &rest[end..];
            }
            let bound = |axis: usize| {
                let values =
                    corners.iter().map(|corner| usize::try_from(corner[axis]).expect("in the picture"));
                (values.clone().min().unwrap(), values.max().unwrap())
            };
            let ((left, right), (top, bottom)) = (bound(0), bound(1));
            rectangles.push([left, top, right, bottom]);
        }
    }
    rectangles
}

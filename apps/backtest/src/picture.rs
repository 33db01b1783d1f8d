//! Pictures, as SVG or PNG by the extension of the file name.

pub mod axes;

use std::{fmt::Display, path::Path, sync::Once};

use plotters::{
    coord::Shift,
    drawing::DrawingAreaErrorKind,
    prelude::{
        BitMapBackend, DrawingArea, DrawingBackend, FontStyle, IntoDrawingArea, SVGBackend, WHITE,
    },
    style::register_font,
};
use trading::one_line;

use crate::output::{Files, Output, Written};

/// A drawing, for either format.
pub trait Drawing {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB>;
}
pub type Canvas<DB> = DrawingArea<DB, Shift>;
pub type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Orange for losses and blue for gains, distinguishable with colour blindness.
pub const BAD: (u8, u8, u8) = (213, 94, 0);
pub const GOOD: (u8, u8, u8) = (0, 114, 178);

#[derive(Clone, Copy)]
enum Format {
    Svg,
    Png,
}

/// A picture before it is drawn; its file is open.
pub struct Picture {
    format: Format,
    output: Output,
}

impl Picture {
    pub fn create(files: &mut Files, option: &'static str, path: &Path) -> Result<Self, String> {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        let format = match ending.to_str() {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => {
                return Err(format!(
                    "{option} {}: the name does not tell the format of the picture; end it in .svg or .png",
                    one_line(path)
                ));
            }
        };
        let output = files.create(option, path)?;
        Ok(Self { format, output })
    }

    pub fn draw(self, size: (u32, u32), drawing: &impl Drawing) -> Result<Written, String> {
        register_fonts();
        let picture = match self.format {
            Format::Svg => svg(size, drawing),
            Format::Png => png(size, drawing),
        };
        self.output.write(&picture?)
    }
}

fn svg(size: (u32, u32), drawing: &impl Drawing) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    let canvas = SVGBackend::with_string(&mut text, size).into_drawing_area();
    finish(&canvas, drawing)?;
    drop(canvas);
    Ok(text.into_bytes())
}

fn png(size: (u32, u32), drawing: &impl Drawing) -> Result<Vec<u8>, String> {
    let (width, height) = size;
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    let canvas = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
    finish(&canvas, drawing)?;
    drop(canvas);

    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&pixels))
        .map_err(cannot_be_drawn)?;
    Ok(file)
}

fn finish<DB: DrawingBackend>(canvas: &Canvas<DB>, drawing: &impl Drawing) -> Result<(), String> {
    canvas
        .fill(&WHITE)
        .and_then(|()| drawing.draw(canvas))
        .and_then(|()| canvas.present())
        .map_err(cannot_be_drawn)
}

fn cannot_be_drawn(failure: impl Display) -> String {
    format!("the picture cannot be drawn ({failure}); try the other of .svg and .png")
}

/// Text is measured, and drawn in a PNG, with an included font, so no installed font is needed.
fn register_fonts() {
    const FONT: &[u8] = include_bytes!("../data/DejaVuSans-ascii.ttf");
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let registered = register_font("sans-serif", FontStyle::Normal, FONT);
        assert!(registered.is_ok(), "the committed font can be read");
    });
}

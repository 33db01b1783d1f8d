use static_bus::layer::Authorized;

struct Everyone;

fn main() {
    Authorized::new(Everyone);
}

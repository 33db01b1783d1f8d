//! Spans for an OpenTelemetry collector.

use crate::{Failure, cli::Cli};

#[cfg(feature = "otlp")]
pub use otlp::Traces;

#[cfg(not(feature = "otlp"))]
pub struct Traces;
#[cfg(not(feature = "otlp"))]
impl Traces {
    pub fn start(cli: &Cli) -> Result<Self, Failure> {
        match cli.traces {
            None => Ok(Traces),
            Some(_) => Err("--traces needs the feature `otlp`: \
                 cargo run -p distributed --features otlp -- --bus memory --traces http://localhost:4318"
                .into()),
        }
    }
    pub fn end(self) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(feature = "otlp")]
mod otlp {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
    use tracing_subscriber::{
        Layer, filter::LevelFilter, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
    };

    use super::{Cli, Failure};

    /// The spans that are exported; none without `--traces`.
    pub struct Traces(Option<SdkTracerProvider>);

    impl Traces {
        /// Exports the spans of this process from now on.
        pub fn start(cli: &Cli) -> Result<Self, Failure> {
            let Some(collector) = &cli.traces else {
                return Ok(Traces(None));
            };
            let exporter = SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{collector}/v1/traces"))
                .build()?;
            let part = cli.part();
            let mut names: Vec<_> = part.serves.iter().map(|it| format!("{it:?}")).collect();
            names.extend(part.drives.then(|| "customer".to_owned()));
            let service = Resource::builder().with_service_name(names.join("+").to_lowercase());
            let provider = SdkTracerProvider::builder()
                .with_resource(service.build())
                .with_batch_exporter(exporter)
                .build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("static_bus"));
            // Not those of the exporter's own connection.
            let ours = Targets::new().with_target("static_bus", LevelFilter::INFO);
            tracing_subscriber::registry()
                .with(layer.with_filter(ours))
                .init();
            Ok(Traces(Some(provider)))
        }

        /// Exports what is left.
        pub fn end(self) -> Result<(), Failure> {
            match self.0 {
                Some(provider) => Ok(provider.shutdown()?),
                None => Ok(()),
            }
        }
    }
}

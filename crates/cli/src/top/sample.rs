use super::snapshot::Snapshot;
use super::text::Text;
use super::who::QueueFile;
#[derive(Debug, Default)]
pub(crate) struct Sampler {}
impl Sampler {
    pub(crate) fn look(&mut self, _selected: Option<&Text>) -> Snapshot {
        Snapshot::default()
    }
    pub(crate) fn file(&self, _name: &Text) -> Option<&QueueFile> {
        None
    }
}

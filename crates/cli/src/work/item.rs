//! A message in hand, and the arguments that a job gets of it.

use crate::work::supply::InHand;

/// A message that was taken out of the queue for a job.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) delivery: Box<dyn InHand>,
    pub(crate) number: u64,
    form: Form,
}

/// How a message holds arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The message is the argument.
    Plain,
    /// What [`encode`] makes: the job's number, then each argument with its length.
    Numbered,
}

const NUMBER: usize = size_of::<u64>();
const LENGTH: usize = size_of::<u32>();

/// `None`: an argument is too long for any program.
pub(crate) fn encode(number: u64, arguments: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut message = number.to_le_bytes().to_vec();
    for argument in arguments {
        message.extend_from_slice(&u32::try_from(argument.len()).ok()?.to_le_bytes());
        message.extend_from_slice(argument);
    }
    Some(message)
}

impl Taken {
    /// `next`: the job's number, if the message has none.
    pub(crate) fn new(delivery: Box<dyn InHand>, form: Form, next: u64) -> Self {
        let own = delivery.first_chunk().filter(|_| form == Form::Numbered).map(|number| u64::from_le_bytes(*number));
        Self { delivery, number: own.unwrap_or(next), form }
    }

    pub(crate) fn arguments(&self) -> Vec<&[u8]> {
        match self.form {
            Form::Plain => vec![&self.delivery],
            Form::Numbered => decode(&self.delivery),
        }
    }
}

fn decode(message: &[u8]) -> Vec<&[u8]> {
    let mut rest = message.get(NUMBER..).unwrap_or_default();
    let mut arguments = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH>() {
        let (argument, others) = after.split_at(after.len().min(u32::from_le_bytes(*length) as usize));
        arguments.push(argument);
        rest = others;
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_what_they_were() {
        let arguments = [b"one".to_vec(), Vec::new(), vec![0, 255, b'\n']];
        assert_eq!(decode(&encode(7, &arguments).unwrap()), arguments);
    }
}

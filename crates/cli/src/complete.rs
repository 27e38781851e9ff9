//! Completions of a shell, with the names of queues.
//!
//! What the generator makes knows commands and options. Names of queues are asked for when the user wants them, by "multiproc ls --names".

use clap::Command;
use clap_complete::Shell;
use std::fmt::Write;

/// The script for a shell.
pub(crate) fn script(shell: Shell, command: &mut Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "multiproc", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let users: Vec<User> = command.get_subcommands().filter_map(User::of).collect();
    match shell {
        Shell::Bash => bash(&script, &users),
        Shell::Zsh => zsh(&script),
        Shell::Fish => script + &fish(&users),
        _ => script,
    }
}

/// A command whose first argument is a queue.
struct User {
    command: String,
    takes_many: bool,
    /// Its options that have a value.
    with_value: Vec<String>,
}

impl User {
    fn of(command: &Command) -> Option<Self> {
        let first = command.get_positionals().next()?;
        // "create" wants a name that is not there.
        if !first.get_help().is_some_and(|help| help.to_string().starts_with("The queue")) {
            return None;
        }
        let options = command.get_opts().flat_map(|option| {
            let short = option.get_short_and_visible_aliases().into_iter().flatten().map(|letter| format!("-{letter}"));
            let long = option.get_long_and_visible_aliases().into_iter().flatten().map(|word| format!("--{word}"));
            short.chain(long).collect::<Vec<_>>()
        });
        Some(Self {
            command: command.get_name().to_owned(),
            takes_many: first.get_num_args().is_some_and(|number| number.max_values() > 1),
            with_value: options.collect(),
        })
    }
}

const BASH: &str = r#"
_multiproc_with_queues() {
    _multiproc "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" at word given=0 many=0 takes
    case "${COMP_WORDS[1]}" in
CASES        *) return 0 ;;
    esac
    for ((at = 2; at < COMP_CWORD; at++)); do
        word="${COMP_WORDS[at]}"
        if [[ $takes == *" $word "* ]]; then
            [[ ${COMP_WORDS[at + 1]} != = ]] || ((at++))
            ((at++))
        elif [[ $word != -* ]]; then
            ((given++))
        fi
    done
    if ((at == COMP_CWORD && at >= 2 && (given == 0 || many))) && [[ $cur != -* ]]; then
        COMPREPLY=($(compgen -W "$("$1" ls --names 2>/dev/null)" -- "$cur"))
    fi
    return 0
}
"#;

fn bash(script: &str, users: &[User]) -> String {
    let mut cases = String::new();
    for User { command, takes_many, with_value } in users {
        let many = u8::from(*takes_many);
        // Writing to a string can't fail.
        let _ = writeln!(cases, "        {command}) many={many} takes=\" {} \" ;;", with_value.join(" "));
    }
    let added = BASH.replace("CASES", &cases);
    let registered = script.replace("complete -F _multiproc ", "complete -F _multiproc_with_queues ");
    match registered.rfind("\nif [[") {
        Some(end) => format!("{}{added}{}", &registered[..end], &registered[end..]),
        None => registered + &added,
    }
}

const ZSH: &str = r#"
_multiproc_queue_names() {
    local -a names
    names=(${(f)"$(_call_program queues multiproc ls --names 2>/dev/null)"})
    _describe -t queues queue names
}
"#;

fn zsh(script: &str) -> String {
    let line = |line: &str| match line.contains(" -- The queue") {
        true => line.replace(":_default'", ":_multiproc_queue_names'"),
        false => line.to_owned(),
    };
    let script: String = script.lines().map(|text| line(text) + "\n").collect();
    match script.rfind("\nif [ \"$funcstack") {
        Some(end) => format!("{}\n{ZSH}{}", &script[..end], &script[end..]),
        None => script,
    }
}

fn fish(users: &[User]) -> String {
    let mut added = String::new();
    for User { command, takes_many, .. } in users {
        let once = if *takes_many { "" } else { "; and not __fish_seen_subcommand_from (multiproc ls --names 2>/dev/null)" };
        let _ = writeln!(
            added,
            "complete -c multiproc -n \"__fish_multiproc_using_subcommand {command}{once}\" -f -a \"(multiproc ls --names 2>/dev/null)\" -d Queue"
        );
    }
    added
}

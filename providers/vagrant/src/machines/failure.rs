//! What Vagrant's errors mean: it names the class of each.

use std::path::Path;

use towpath_core::{Context, Error, ErrorKind};

use super::VAGRANT;
use super::run::Ran;

/// What a caller can do about an error of this class, and whether trying again may help.
///
/// Source: Vagrant 2.3.4, `lib/vagrant/errors.rb`.
fn meaning(class: &str) -> (ErrorKind, bool, &'static str) {
    match class.rsplit("::").next().unwrap_or_default() {
        "BoxChecksumMismatch" => {
            (ErrorKind::Conflict, false, "a box is not what its catalogue's checksum says: it was not added")
        }
        "EnvironmentLockedError" | "MachineActionLockedError" | "MachineLocked" => {
            (ErrorKind::Conflict, true, "another vagrant works on this")
        }
        "NoDefaultProvider" | "NoDefaultSyncedFolderImpl" | "ProviderNotFound" | "ProviderNotUsable" => (
            ErrorKind::ToolMissing,
            false,
            "the provider is not there: install its plugin (`apt-get install vagrant-libvirt` for libvirt) or its programs, or name \
             another one in `provider`",
        ),
        "PluginNotInstalled" | "PluginMissingLocalError" | "PluginMissingRequiredSetting" => {
            (ErrorKind::ToolMissing, false, "a plugin of vagrant is not there: install it")
        }
        "ConfigInvalid"
        | "MachineNotFound"
        | "NoEnvironmentError"
        | "VagrantfileLoadError"
        | "VagrantfileNameError"
        | "VagrantfileSyntaxError"
        | "ConfigUpgradeErrors"
        | "BoxVersionInvalid"
        | "BoxChecksumInvalidType"
        | "BoxMetadataMalformed"
        | "BoxMetadataMalformedVersion"
        | "BoxMetadataMissingRequiredFields" => {
            (ErrorKind::InvalidInput, false, "the Vagrantfile or a catalogue is wrong")
        }
        "BoxAddShortNotFound"
        | "BoxAddNoMatchingProvider"
        | "BoxAddNoMatchingVersion"
        | "BoxNotFound"
        | "BoxNotFoundWithProvider"
        | "BoxNotFoundWithProviderAndVersion"
        | "BoxFileNotExist"
        | "BoxMetadataFileNotFound" => (
            ErrorKind::NotFound,
            false,
            "there is no such box: look at its name, version and provider, or name its catalogue in `boxes`",
        ),
        "DownloaderError" | "BoxMetadataDownloadError" => (ErrorKind::Unreachable, true, "a box can't be fetched"),
        "VMBootTimeout" | "SSHConnectionTimeout" => (ErrorKind::Timeout, true, "a machine does not answer in time"),
        "SSHAuthenticationFailed" => (ErrorKind::Denied, false, "a machine does not accept the key"),
        _ => (ErrorKind::ToolFailed, false, "vagrant failed"),
    }
}

/// Where in the Vagrantfile: Ruby puts `path:line:` in front of what it does not understand.
fn place(text: &str, vagrantfile: &Path) -> Option<String> {
    let path = vagrantfile.display().to_string();
    text.match_indices(&format!("{path}:")).find_map(|(at, found)| {
        let rest = text.get(at + found.len()..)?;
        let line = rest.get(..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()))?;
        (!line.is_empty()).then(|| format!("{path}:{line}"))
    })
}

/// The error of a command that failed.
pub(super) fn of(cx: &Context, operation: &'static str, ran: &Ran, folder: &Path) -> Error {
    let vagrantfile = folder.join("Vagrantfile");
    let (class, text) = ran.failure.clone().unwrap_or_else(|| (String::new(), ran.stderr.trim().to_owned()));
    let text = cx.masker().mask(&text).into_owned();
    let (mut kind, later, mut what) = meaning(&class);
    let place = place(&text, &vagrantfile);
    if class.is_empty() && place.is_some() {
        // So early that it knows no class yet.
        (kind, what) = (ErrorKind::InvalidInput, "the Vagrantfile is wrong");
    }
    let mut error = Error::new(kind, VAGRANT, operation, what);
    error = match place {
        Some(place) => error.with("file", place),
        None => error.with("folder", folder.display()),
    };
    if !class.is_empty() {
        error = error.with("class", class);
    }
    error = error.with("exit_status", ran.status);
    if later {
        error = error.retry_later();
    }
    if text.is_empty() { error } else { error.caused_by(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_that_of_our_file() {
        let text = "message:\n\n/tmp/b/Vagrantfile:3: syntax error, unexpected `end'";
        assert_eq!(place(text, Path::new("/tmp/b/Vagrantfile")).as_deref(), Some("/tmp/b/Vagrantfile:3"));
        assert_eq!(place(text, Path::new("/tmp/c/Vagrantfile")), None);
    }
}

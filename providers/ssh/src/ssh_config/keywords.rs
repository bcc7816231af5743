//! Every keyword of OpenSSH's client configuration, and what is made of it.
//! Source: ssh_config(5) of OpenSSH 9.2, 9.9 and 10.0.

/// What is made of an option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Treatment {
    /// Does what ssh_config(5) says.
    Honoured,
    /// Left out, since it changes neither where a connection goes, nor as whom, nor whom it trusts; the reason.
    Harmless(&'static str),
    /// Harmless with one of these values, refused with any other.
    Only(&'static [&'static str]),
    /// Refused, whatever its value.
    Refused,
}

use Treatment::{Harmless, Honoured, Only, Refused};

const NO: &[&str] = &["no"];
const NONE: &[&str] = &["none"];
const FORWARDING: &str = "nothing is forwarded but what a caller dials";
const SHARED: &str = "connections are shared within the process";
const TERMINAL: &str = "there is no terminal";
const NEVER_ASKS: &str = "nobody is asked";
const SPEED: &str = "changes only how bytes travel";
const TALK: &str = "changes only what OpenSSH's client prints";
const GSSAPI: &str = "Kerberos is not among the ways to log in";
const CANONICAL: &str = "counts only with CanonicalizeHostname, which is refused";
const HOST_BASED: &str = "counts only with HostbasedAuthentication, which is refused";
const OLD: &str = "OpenSSH ignores it, too";

/// All of them, in lower case, sorted.
pub(crate) const KEYWORDS: &[(&str, Treatment)] = &[
    ("addkeystoagent", Harmless("keys are only used, not handed on")),
    ("addressfamily", Honoured),
    ("batchmode", Harmless(NEVER_ASKS)),
    ("bindaddress", Refused),
    ("bindinterface", Refused),
    ("canonicaldomains", Harmless(CANONICAL)),
    ("canonicalizefallbacklocal", Harmless(CANONICAL)),
    ("canonicalizehostname", Only(&["no", "none"])),
    ("canonicalizemaxdots", Harmless(CANONICAL)),
    ("canonicalizepermittedcnames", Harmless(CANONICAL)),
    ("casignaturealgorithms", Honoured),
    ("certificatefile", Honoured),
    ("challengeresponseauthentication", Honoured),
    ("channeltimeout", Harmless("a caller decides how long a command may be silent")),
    ("checkhostip", Only(NO)),
    ("cipher", Harmless(OLD)),
    ("ciphers", Honoured),
    ("clearallforwardings", Harmless(FORWARDING)),
    ("compression", Harmless(SPEED)),
    ("compressionlevel", Harmless(OLD)),
    ("connectionattempts", Harmless("a step says how often it is tried")),
    ("connecttimeout", Honoured),
    ("controlmaster", Harmless(SHARED)),
    ("controlpath", Harmless(SHARED)),
    ("controlpersist", Harmless(SHARED)),
    ("dsaauthentication", Harmless("as PubkeyAuthentication, long ago; keys of DSA are not used")),
    ("dynamicforward", Harmless(FORWARDING)),
    ("enableescapecommandline", Harmless(TERMINAL)),
    ("enablesshkeysign", Harmless(HOST_BASED)),
    ("escapechar", Harmless(TERMINAL)),
    ("exitonforwardfailure", Harmless(FORWARDING)),
    ("fallbacktorsh", Harmless(OLD)),
    ("fingerprinthash", Harmless(TALK)),
    ("forkafterauthentication", Harmless(TERMINAL)),
    ("forwardagent", Harmless(FORWARDING)),
    ("forwardx11", Harmless(FORWARDING)),
    ("forwardx11timeout", Harmless(FORWARDING)),
    ("forwardx11trusted", Harmless(FORWARDING)),
    ("gatewayports", Harmless(FORWARDING)),
    ("globalknownhostsfile", Honoured),
    ("globalknownhostsfile2", Harmless(OLD)),
    ("gssapiauthentication", Harmless(GSSAPI)),
    ("gssapiclientidentity", Harmless(GSSAPI)),
    ("gssapidelegatecredentials", Harmless(GSSAPI)),
    ("gssapikexalgorithms", Harmless(GSSAPI)),
    ("gssapikeyexchange", Harmless(GSSAPI)),
    ("gssapirenewalforcesrekey", Harmless(GSSAPI)),
    ("gssapiserveridentity", Harmless(GSSAPI)),
    ("gssapitrustdns", Harmless(GSSAPI)),
    ("hashknownhosts", Honoured),
    ("host", Honoured),
    ("hostbasedacceptedalgorithms", Harmless(HOST_BASED)),
    ("hostbasedauthentication", Only(NO)),
    ("hostbasedkeytypes", Harmless(HOST_BASED)),
    ("hostkeyalgorithms", Honoured),
    ("hostkeyalias", Honoured),
    ("hostname", Honoured),
    ("identitiesonly", Honoured),
    ("identityagent", Honoured),
    ("identityfile", Honoured),
    ("identityfile2", Honoured),
    ("ignoreunknown", Honoured),
    ("include", Honoured),
    ("ipqos", Harmless(SPEED)),
    ("kbdinteractiveauthentication", Honoured),
    ("kbdinteractivedevices", Harmless("only a hint to the server")),
    ("keepalive", Harmless(SPEED)),
    ("kexalgorithms", Honoured),
    ("knownhostscommand", Only(NONE)),
    ("localcommand", Harmless("runs on this machine, beside the connection")),
    ("localforward", Harmless(FORWARDING)),
    ("loglevel", Harmless(TALK)),
    ("logverbose", Harmless(TALK)),
    ("macs", Honoured),
    ("match", Honoured),
    ("nohostauthenticationforlocalhost", Honoured),
    ("numberofpasswordprompts", Harmless(NEVER_ASKS)),
    ("obscurekeystroketiming", Harmless(TERMINAL)),
    ("passwordauthentication", Honoured),
    ("permitlocalcommand", Harmless("runs on this machine, beside the connection")),
    ("permitremoteopen", Harmless(FORWARDING)),
    ("pkcs11provider", Only(NONE)),
    ("port", Honoured),
    ("preferredauthentications", Honoured),
    ("protocol", Only(&["2", "2,1"])),
    ("proxycommand", Honoured),
    ("proxyjump", Honoured),
    ("proxyusefdpass", Only(NO)),
    ("pubkeyacceptedalgorithms", Honoured),
    ("pubkeyacceptedkeytypes", Honoured),
    ("pubkeyauthentication", Honoured),
    ("refuseconnection", Honoured),
    ("rekeylimit", Harmless(SPEED)),
    ("remotecommand", Only(NONE)),
    ("remoteforward", Harmless(FORWARDING)),
    ("requesttty", Harmless(TERMINAL)),
    ("requiredrsasize", Honoured),
    ("revokedhostkeys", Only(NONE)),
    ("rhostsrsaauthentication", Harmless(OLD)),
    ("rsaauthentication", Harmless(OLD)),
    ("securitykeyprovider", Harmless("keys on a device are used through the agent")),
    ("sendenv", Harmless("a caller gives a command its environment")),
    ("serveralivecountmax", Honoured),
    ("serveraliveinterval", Honoured),
    ("sessiontype", Harmless("a caller says what runs")),
    ("setenv", Harmless("a caller gives a command its environment")),
    ("skeyauthentication", Honoured),
    ("smartcarddevice", Only(NONE)),
    ("stdinnull", Harmless("a caller gives a command its input")),
    ("streamlocalbindmask", Harmless(FORWARDING)),
    ("streamlocalbindunlink", Harmless(FORWARDING)),
    ("stricthostkeychecking", Honoured),
    ("syslogfacility", Harmless(TALK)),
    ("tag", Honoured),
    ("tcpkeepalive", Harmless(SPEED)),
    ("tunnel", Only(NO)),
    ("tunneldevice", Harmless("counts only with Tunnel, which is refused")),
    ("updatehostkeys", Harmless("fewer keys are known without it, never more")),
    ("usekeychain", Harmless("a passphrase is given by `passphrase`")),
    ("useprivilegedport", Only(NO)),
    ("user", Honoured),
    ("userknownhostsfile", Honoured),
    ("userknownhostsfile2", Harmless(OLD)),
    ("useroaming", Harmless(OLD)),
    ("usersh", Harmless(OLD)),
    ("verifyhostkeydns", Only(NO)),
    ("versionaddendum", Harmless(TALK)),
    ("visualhostkey", Harmless(TALK)),
    ("warnweakcrypto", Harmless(TALK)),
    ("xauthlocation", Harmless(FORWARDING)),
];

/// What is made of a keyword, in lower case; `None`: OpenSSH has no such one.
pub(crate) fn treatment(keyword: &str) -> Option<Treatment> {
    KEYWORDS.iter().find(|(k, _)| *k == keyword).map(|(_, t)| *t)
}

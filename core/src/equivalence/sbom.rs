use serde_json::json;

use crate::Json;
use crate::equivalence::Contents;

impl Contents {
    /// A bill of materials of the packages: CycloneDX 1.5, as JSON. `name` and `version` are the artifact's.
    ///
    /// It has neither a time nor a random number, so that the same artifact gives the same text. Source: CycloneDX 1.5, JSON reference.
    pub fn sbom(&self, name: &str, version: &str) -> Json {
        let kind = match self.distribution.as_str() {
            "alpine" => "apk",
            "fedora" | "rhel" | "centos" | "rocky" | "almalinux" | "amzn" | "opensuse-leap" | "sles" => "rpm",
            _ => "deb",
        };
        let components: Vec<Json> = self
            .packages
            .iter()
            .map(|(package, version)| {
                let (name, arch) = package.rsplit_once(':').unwrap_or((package, ""));
                let mut purl = format!("pkg:{kind}/{}/{}@{}", self.distribution, encoded(name), encoded(version));
                let distro = format!("distro={}-{}", self.distribution, self.version);
                purl.push_str(&if arch.is_empty() { format!("?{distro}") } else { format!("?arch={arch}&{distro}") });
                json!({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
            })
            .collect();
        let system = json!({"type": "operating-system", "name": self.distribution, "version": self.version});
        let all = [vec![system], components].concat();
        json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": {"type": "container", "name": name, "version": version}},
            "components": all,
        })
    }
}

/// Percent-encodes what a package URL must not hold as it is.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn packages_have_their_urls() {
        let mut contents = Contents { distribution: "debian".into(), version: "12".into(), ..Contents::default() };
        contents.packages.insert("libstdc++6:amd64".into(), "1:12.2.0-14".into());
        let sbom = contents.sbom("web", "sha256:ab");
        assert_eq!(sbom["components"][0]["type"], "operating-system");
        assert_eq!(
            sbom["components"][1]["purl"],
            "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14?arch=amd64&distro=debian-12"
        );
        assert_eq!((sbom["bomFormat"].as_str(), sbom["specVersion"].as_str()), (Some("CycloneDX"), Some("1.5")));
    }
}

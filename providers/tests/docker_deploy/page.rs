//! What the book says is what the library takes.

use towpath::pipeline::Pipeline;

#[test]
fn the_pipeline_of_the_page_is_one_and_its_switch_is_one() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/docker-deploy.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    let [pipeline, switch] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    let schema = towpath::registry().pipeline_schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let value = Pipeline::yaml_value(pipeline, "page.yml").unwrap();
    let wrong: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let mut config = Pipeline::yaml_value(switch, "switch.yml").unwrap();
    config["service"] = "web".into();
    towpath::docker::DockerDeploy::new(serde_json::from_value(config).unwrap()).unwrap();
}

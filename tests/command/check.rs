//! `fusion check` and `fusion fmt`: messages before anything runs.

use crate::common::{SOUP, Space};

#[test]
fn a_good_recipe_is_ok() {
    let space = Space::new();
    space.soup();
    let done = space.ok(&["check", "soup.fusion"]);
    insta::assert_snapshot!(done.out, @"ok: soup.fusion: 1 stage, 1 output");
    let done = space.ok(&["check", "soup.fusion", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(json["ok"], true);
}

#[test]
fn all_mistakes_of_a_recipe_are_told_at_once() {
    let space = Space::new();
    space.soup();
    space
        .write("bad.fusion", SOUP.replace("weight = 0.75", "wieght = 0.75").replace("save soup", "save sop"));
    let done = space.fails(&["check", "bad.fusion"], 1, "F0203");
    insta::assert_snapshot!(done.err, @r#"
    error[F0203]: `linear` has no parameter `wieght` here
     --> bad.fusion:7:12
      |
    7 |   from a { wieght = 0.75 }
      |            ^^^^^^ not a parameter of `linear`
      |
      = help: did you mean `weight`? (number, default 1)
    help: change it to `weight`
      |
    7 -   from a { wieght = 0.75 }
    7 +   from a { weight = 0.75 }
      |

    error[F0201]: nothing is called `sop`
      --> bad.fusion:11:6
       |
    11 | save sop to "out/soup"
       |      ^^^ unknown name
       |
       = help: did you mean `soup`?
    help: change it to `soup`
       |
    11 | save soup to "out/soup"
       |        +

    2 errors in bad.fusion; `fusion explain F0203` says more
    "#);
    assert_eq!(done.out, "");
}

#[test]
fn headers_are_checked_for_what_a_mistake_leaves() {
    let space = Space::new();
    space.soup();
    space.model_of("other", 1, &crate::common::decoder(5, 1, 8));
    let text = format!(
        "{SOUP}\nmodel c from \"other\"\naverage odd using linear {{\n  from a\n  from c\n}}\nsave odd to \"out/odd\"\nsave nothing to \"out/x\"\n"
    );
    space.write("bad.fusion", text);
    let done = space.fails(&["check", "bad.fusion"], 1, "F0201");
    assert!(done.err.contains("F0402"), "the headers were not looked at:\n{}", done.err);
}

#[test]
fn fixes_that_are_certain_are_applied() {
    let space = Space::new();
    space.soup();
    space.write("bad.fusion", SOUP.replace("weight = 0.75", "weight : 0.75"));
    space.fails(&["check", "bad.fusion"], 1, "F0105");
    let done = space.ok(&["check", "bad.fusion", "--fix"]);
    assert!(done.err.contains("1 fix applied"), "{}", done.err);
    assert_eq!(space.read("bad.fusion"), SOUP);
}

#[test]
fn colour_is_asked_for_and_never_needed() {
    let space = Space::new();
    space.write("bad.fusion", "fusion 1\nsave x to \"y\"\n");
    let plain = space.fusion(&["check", "bad.fusion"]).err;
    assert!(!plain.contains('\x1b'), "{plain}");
    let coloured = space.fusion(&["check", "bad.fusion", "--color", "always"]).err;
    assert!(coloured.contains('\x1b'));
}

#[test]
fn formatting_is_checked_and_done() {
    let space = Space::new();
    space.write("recipes/soup.fusion", SOUP.replace("weight = 0.75", "weight=0.75"));
    let done = space.fusion(&["fmt", "--check", "recipes"]);
    assert_eq!(done.code, 1);
    assert!(done.out.contains("is not formatted"), "{}", done.out);
    space.ok(&["fmt", "recipes"]);
    assert_eq!(space.read("recipes/soup.fusion"), SOUP);
    space.ok(&["fmt", "--check", "recipes"]);
    space.write("recipes/broken.fusion", "fusion 1\n\nmodel a = \"a\"\n");
    let done = space.fusion(&["fmt", "recipes"]);
    assert_eq!(done.code, 1, "{}", done.err);
}

#[test]
fn imports_are_read_from_the_importing_folder() {
    let space = Space::new();
    space.soup();
    space.write("common/models.fusion", "fusion 1\n\nmodel a from \"../a\"\nmodel b from \"../b\"\n");
    space.write(
        "recipes/soup.fusion",
        "fusion 1\n\nimport \"../common/models.fusion\" as zoo\n\naverage soup using mean { from [zoo.a, zoo.b] }\n\n\
         save soup to \"../out/soup\"\n",
    );
    space.ok(&["run", "recipes/soup.fusion"]);
    assert!(space.path("out/soup/model.safetensors").is_file());
    std::fs::remove_file(space.path("common/models.fusion")).unwrap();
    space.fails(&["check", "recipes/soup.fusion"], 3, "F0219");
}

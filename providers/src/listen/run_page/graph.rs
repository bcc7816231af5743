//! Which step needs which, drawn in layers from left to right.

use super::html::{Html, count};
use super::model::Model;

/// More steps than this make a picture that nobody can read.
const MOST: usize = 150;
const LETTERS: usize = 26;
const HEIGHT: f64 = 34.0;
const GAP: f64 = 14.0;
const BETWEEN: f64 = 56.0;

/// A step, or the place where a long line passes a layer.
struct Node {
    step: Option<usize>,
    layer: usize,
    before: Vec<usize>,
    after: Vec<usize>,
    width: f64,
    x: f64,
    y: f64,
}

impl Node {
    fn height(&self) -> f64 {
        if self.step.is_some() { HEIGHT } else { 6.0 }
    }
}

pub(super) fn graph(html: &mut Html, model: &Model) {
    if model.steps.len() < 2 {
        return;
    }
    html.raw("<section id=\"graph\"><h2>Graph</h2>");
    if model.steps.len() > MOST {
        html.put(
            "<p class=\"note\">Not drawn: it has ",
            &count(model.steps.len(), "step"),
            ", and a picture of more than ",
        );
        html.int(MOST).raw(" tells nothing. Each step below names those that it needs.</p></section>");
        return;
    }
    let needs = direct(model);
    let mut nodes = nodes(model, &needs);
    let layers = place(&mut nodes);
    draw(html, model, &nodes, &layers);
    if needs.iter().map(Vec::len).sum::<usize>() < model.steps.iter().map(|s| s.needs.len()).sum() {
        html.raw("<p class=\"note\">Lines that follow from others are not drawn.</p>");
    }
    html.raw("</section>");
}

/// What each step needs, without what its other needs need already.
fn direct(model: &Model) -> Vec<Vec<usize>> {
    let needs = |i: usize| model.steps.get(i).map(|s| s.needs.as_slice()).unwrap_or_default();
    let above = |from: usize| {
        let (mut seen, mut next) = (std::collections::HashSet::new(), needs(from).to_vec());
        while let Some(step) = next.pop() {
            if seen.insert(step) {
                next.extend(needs(step));
            }
        }
        seen
    };
    let above: Vec<_> = (0..model.steps.len()).map(above).collect();
    let implied =
        |all: &[usize], need: usize| all.iter().any(|other| above.get(*other).is_some_and(|a| a.contains(&need)));
    model.steps.iter().map(|s| s.needs.iter().copied().filter(|n| !implied(&s.needs, *n)).collect()).collect()
}

fn nodes(model: &Model, needs: &[Vec<usize>]) -> Vec<Node> {
    let mut layer = vec![0usize; model.steps.len()];
    // The longest way to each step. A graph without circles settles within as many rounds as it has steps.
    for _ in 0..model.steps.len() {
        let mut moved = false;
        for (i, step) in model.steps.iter().enumerate() {
            let least = step.needs.iter().filter_map(|n| layer.get(*n)).map(|l| l + 1).max().unwrap_or(0);
            if let Some(own) = layer.get_mut(i).filter(|own| **own < least) {
                *own = least;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let width = |name: &str| f64::from(u32::try_from(name.chars().count().min(LETTERS)).unwrap_or(0)) * 8.2 + 36.0;
    let new = |step, layer, width| Node { step, layer, before: vec![], after: vec![], width, x: 0.0, y: 0.0 };
    let mut nodes: Vec<Node> =
        model.steps.iter().zip(&layer).enumerate().map(|(i, (s, l))| new(Some(i), *l, width(&s.name))).collect();
    for (i, needs) in needs.iter().enumerate() {
        let to = layer.get(i).copied().unwrap_or_default();
        for need in needs {
            let mut last = *need;
            for between in layer.get(*need).copied().unwrap_or_default() + 1..to {
                nodes.push(new(None, between, 0.0));
                let passing = nodes.len() - 1;
                link(&mut nodes, last, passing);
                last = passing;
            }
            link(&mut nodes, last, i);
        }
    }
    nodes
}

fn link(nodes: &mut [Node], from: usize, to: usize) {
    if let Some(node) = nodes.get_mut(from) {
        node.after.push(to);
    }
    if let Some(node) = nodes.get_mut(to) {
        node.before.push(from);
    }
}

/// Gives every node its place, and returns the layers from top to bottom.
fn place(nodes: &mut [Node]) -> Vec<Vec<usize>> {
    let deepest = nodes.iter().map(|n| n.layer).max().unwrap_or_default();
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); deepest + 1];
    for (i, node) in nodes.iter().enumerate() {
        if let Some(layer) = layers.get_mut(node.layer) {
            layer.push(i);
        }
    }
    stack(nodes, &layers);
    // Each node moves to the middle of its neighbours, forth and back a few times: fewer lines cross.
    for round in 0..8 {
        for layer in &mut layers {
            let middle = |i: &usize| {
                let node = nodes.get(*i);
                let beside = node.map(|n| if round % 2 == 0 { &n.before } else { &n.after });
                let ys: Vec<f64> = beside
                    .into_iter()
                    .flatten()
                    .filter_map(|b| nodes.get(*b))
                    .map(|b| b.y + b.height() / 2.0)
                    .collect();
                let own = node.map_or(0.0, |n| n.y + n.height() / 2.0);
                if ys.is_empty() {
                    own
                } else {
                    ys.iter().sum::<f64>() / f64::from(u32::try_from(ys.len()).unwrap_or(1))
                }
            };
            let mut sorted: Vec<(f64, usize)> = layer.iter().map(|i| (middle(i), *i)).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            *layer = sorted.into_iter().map(|(_, i)| i).collect();
        }
        stack(nodes, &layers);
    }
    let mut x = 1.0;
    for layer in &layers {
        let widest = layer.iter().filter_map(|i| nodes.get(*i)).map(|n| n.width).fold(0.0, f64::max);
        for i in layer {
            if let Some(node) = nodes.get_mut(*i) {
                node.x = x;
                if node.step.is_none() {
                    node.width = widest;
                }
            }
        }
        x += widest + BETWEEN;
    }
    layers
}

/// One under the other, every layer in the middle of the highest.
fn stack(nodes: &mut [Node], layers: &[Vec<usize>]) {
    let high = |layer: &Vec<usize>| layer.iter().filter_map(|i| nodes.get(*i)).map(|n| n.height() + GAP).sum::<f64>();
    let heights: Vec<f64> = layers.iter().map(high).collect();
    let highest = heights.iter().copied().fold(0.0, f64::max);
    for (layer, height) in layers.iter().zip(heights) {
        let mut y = (highest - height) / 2.0 + GAP / 2.0;
        for i in layer {
            if let Some(node) = nodes.get_mut(*i) {
                node.y = y;
                y += node.height() + GAP;
            }
        }
    }
}

fn draw(html: &mut Html, model: &Model, nodes: &[Node], layers: &[Vec<usize>]) {
    let right = nodes.iter().map(|n| n.x + n.width).fold(0.0, f64::max) + 2.0;
    let bottom = nodes.iter().map(|n| n.y + n.height()).fold(0.0, f64::max) + GAP / 2.0;
    html.raw("<div class=\"scroll\"><svg class=\"graph\" width=\"").at(right).raw("\" height=\"").at(bottom);
    html.raw("\" role=\"img\" aria-label=\"").text(&count(model.steps.len(), "step")).raw(" in ");
    html.text(&count(layers.len(), "layer")).raw("\">");
    for node in nodes {
        for next in node.after.iter().filter_map(|n| nodes.get(*n)) {
            let (x1, y1) = (node.x + node.width, node.y + node.height() / 2.0);
            let (x2, y2) = (next.x, next.y + next.height() / 2.0);
            let bend = (x1 + x2) / 2.0;
            html.raw("<path class=\"edge\" d=\"M").at(x1).raw(" ").at(y1).raw("C").at(bend).raw(" ").at(y1).raw(" ");
            html.at(bend).raw(" ").at(y2).raw(" ").at(x2).raw(" ").at(y2).raw("\"/>");
        }
        if node.step.is_none() {
            let y = node.y + node.height() / 2.0;
            html.raw("<path class=\"edge\" d=\"M")
                .at(node.x)
                .raw(" ")
                .at(y)
                .raw("H")
                .at(node.x + node.width)
                .raw("\"/>");
        }
    }
    for (node, at) in nodes.iter().filter_map(|n| Some((n, n.step?))) {
        let Some(step) = model.steps.get(at) else { continue };
        html.raw("<a href=\"#step-")
            .int(at)
            .raw("\"><g class=\"node ")
            .raw(super::steps::step_class(step))
            .raw("\"><title>");
        html.text(&step.name).raw(": ").text(super::steps::state_name(step)).raw("</title><rect x=\"").at(node.x);
        html.raw("\" y=\"").at(node.y).raw("\" width=\"").at(node.width).raw("\" height=\"").at(HEIGHT);
        html.raw("\" rx=\"6\"/><circle cx=\"").at(node.x + 15.0).raw("\" cy=\"").at(node.y + HEIGHT / 2.0);
        html.raw("\" r=\"5\"/><text x=\"").at(node.x + 27.0).raw("\" y=\"").at(node.y + HEIGHT / 2.0 + 4.5).raw("\">");
        let mut name: String = step.name.chars().take(LETTERS).collect();
        if step.name.chars().count() > LETTERS {
            name.pop();
            name.push('…');
        }
        html.text(&name).raw("</text></g></a>");
    }
    html.raw("</svg></div>");
}

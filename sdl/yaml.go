package sdl

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseGeneral reads a document with the YAML library.
func parseGeneral(src []byte, r *reporter, nodes int) *tree {
	if n := estimateNodes(src); n > MaxGeneralNodes {
		r.limit(ruleLimitNodes, 1, 1, fmt.Sprintf("about %d keys, values and items in a document of this layout; at most %d", n, MaxGeneralNodes))
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		r.syntax(src, err)
		return nil
	}
	c := converter{r: r, nodes: nodes, t: &tree{nodes: make([]node, 1, 64+len(src)/10)}}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		c.t.root = c.convert(doc.Content[0], 0)
	}
	if c.failed {
		return nil
	}
	c.t.more = moreDocuments(src)
	return c.t
}

// estimateNodes is an upper bound for the nodes of a text, except for those of
// one character a piece inside brackets, which commas bound.
func estimateNodes(src []byte) int {
	n := 1
	for _, b := range src {
		switch b {
		case '\n', ',', ':', '-', '[', '{', '?':
			n++
		}
	}
	return n
}

// moreDocuments reports whether a second document follows: a line "---" after
// one with content.
func moreDocuments(src []byte) bool {
	if !bytes.Contains(src, []byte("\n---")) {
		return false
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var first, second yaml.Node
	if dec.Decode(&first) != nil {
		return false
	}
	return dec.Decode(&second) == nil && len(second.Content) == 1 && second.Content[0].ShortTag() != "!!null"
}

// converter turns the library's tree into ours, checking the bounds.
type converter struct {
	r       *reporter
	t       *tree
	anchors map[*yaml.Node]int32
	aliases int
	nodes   int
	failed  bool
}

func (c *converter) fail(rule Rule, y *yaml.Node, msg string) int32 {
	if !c.failed {
		c.r.limit(rule, y.Line, y.Column, msg)
	}
	c.failed = true
	return 0
}

func (c *converter) convert(y *yaml.Node, depth int) int32 {
	switch {
	case c.failed:
		return 0
	case depth > MaxDepth:
		return c.fail(ruleLimitDepth, y, fmt.Sprintf("nested deeper than %d levels", MaxDepth))
	case len(c.t.nodes) > c.nodes:
		return c.fail(ruleLimitNodes, y, fmt.Sprintf("more than %d keys, values and items", c.nodes))
	}
	n := c.t.add(node{value: y.Value, line: int32(y.Line), col: int32(y.Column)})
	if y.Anchor != "" {
		if c.anchors == nil {
			c.anchors = make(map[*yaml.Node]int32)
		}
		c.anchors[y] = n
	}
	switch y.Kind {
	case yaml.ScalarNode:
		nd := c.t.at(n)
		nd.kind = scalarNode
		nd.quoted = y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
		if y.Style&yaml.TaggedStyle != 0 {
			nd.tag = y.Tag
		}
	case yaml.AliasNode:
		c.alias(y, n)
	case yaml.SequenceNode:
		c.t.at(n).kind = sequenceNode
		c.children(y, n, depth)
	case yaml.MappingNode:
		c.t.at(n).kind = mappingNode
		c.children(y, n, depth)
	case yaml.DocumentNode: // only at the top
	}
	return n
}

func (c *converter) alias(y *yaml.Node, n int32) {
	c.aliases++
	target, ok := c.anchors[y.Alias]
	if c.aliases > MaxAliases || !ok {
		c.fail(ruleLimitAliases, y, fmt.Sprintf("more than %d aliases", MaxAliases))
		return
	}
	nd := c.t.at(n)
	nd.kind, nd.first = aliasNode, target
}

func (c *converter) children(y *yaml.Node, n int32, depth int) {
	last := int32(0)
	isMap := y.Kind == yaml.MappingNode
	if isMap && len(y.Content)/2 > MaxKeys {
		c.fail(ruleLimitKeys, y, fmt.Sprintf("more than %d keys in one mapping", MaxKeys))
		return
	}
	for i := 0; i < len(y.Content); i++ {
		key := int32(0)
		if isMap {
			key = c.convert(y.Content[i], depth+1)
			i++
		}
		child := c.convert(y.Content[i], depth+1)
		if c.failed {
			return
		}
		c.t.at(child).key = key
		c.t.appendChild(n, last, child)
		last = child
	}
}

// syntax reports an error of the YAML library at the line it names. Texts of
// the library that quote the document are cut off, for it may hold secrets.
func (r *reporter) syntax(src []byte, err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
	}
	msg, _, _ = strings.Cut(msg, "\n")
	if strings.HasPrefix(msg, "unknown anchor") {
		msg = "an alias (* and a name) has no anchor (& and the name) before it"
	}
	rule := ruleYAMLSyntax
	if strings.Contains(msg, "exceeded max depth") {
		rule = ruleLimitDepth
	}
	last := 1 + bytes.Count(src, []byte("\n"))
	line = max(1, min(line, last))
	r.limit(rule, line, firstColumn(src, line), clip(msg))
}

// firstColumn returns where the text of a line starts.
func firstColumn(src []byte, line int) int {
	for ; line > 1; line-- {
		_, rest, ok := bytes.Cut(src, []byte("\n"))
		if !ok {
			break
		}
		src = rest
	}
	text, _, _ := bytes.Cut(src, []byte("\n"))
	trimmed := bytes.TrimLeft(text, " \t")
	if len(bytes.TrimSpace(trimmed)) == 0 {
		return 1
	}
	return len(text) - len(trimmed) + 1
}

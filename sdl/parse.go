package sdl

import (
	"fmt"
)

// parse reads text into a document. It returns nil when there is nothing to go
// on; else problems of shape may have been reported.
func (r *reporter) parse(src []byte, o Options) *Document {
	most, nodes := MaxBytes, MaxNodes
	if o.Limits != nil && o.Limits.Bytes > 0 {
		most = min(most, o.Limits.Bytes)
	}
	if o.Limits != nil && o.Limits.Nodes > 0 {
		nodes = min(nodes, o.Limits.Nodes)
	}
	if len(src) > most {
		r.limit(ruleLimitBytes, 1, 1, fmt.Sprintf("%d bytes; at most %d", len(src), most))
		return nil
	}
	t, ok := scanPlain(src, nodes)
	if !ok {
		t, ok = readJSON(src, nodes)
	}
	if !ok {
		t = parseGeneral(src, r, nodes)
	}
	if t == nil {
		return nil
	}
	d := decoder{reporter: r, t: t, path: make([]segment, 0, 12)}
	doc := d.document()
	if doc != nil {
		doc.replaceEarlier()
	}
	return doc
}

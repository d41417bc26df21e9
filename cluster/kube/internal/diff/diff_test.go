package diff_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/moorage-dev/moorage/cluster/kube/internal/diff"
)

func value(t *testing.T, text string) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return v
}

func TestCompare(t *testing.T) {
	rows := []struct {
		name, want, live, differs string
		extra                     []string
	}{
		{name: "equal", want: `{"a":1,"b":"x"}`, live: `{"a":1,"b":"x"}`},
		{name: "defaults are not looked at", want: `{"a":1}`, live: `{"a":1,"b":2}`},
		{name: "a value changed", want: `{"a":{"b":1}}`, live: `{"a":{"b":2}}`, differs: "/a/b"},
		{name: "a field is gone", want: `{"a":{"b":1}}`, live: `{}`, differs: "/a"},
		{name: "an empty object is left out by the cluster", want: `{"a":{}}`, live: `{}`},
		{name: "an empty list is left out by the cluster", want: `{"a":[]}`, live: `{}`},
		{name: "a key with a slash", want: `{"x/y":"1"}`, live: `{"x/y":"2"}`, differs: "/x~1y"},
		{name: "an item was added", want: `{"c":[{"name":"a"}]}`, live: `{"c":[{"name":"a","d":1},{"name":"b"},{"name":"z"}]}`, extra: []string{"/c/2", "/c/1"}},
		{name: "an item is gone", want: `{"c":[{"name":"a"},{"name":"b"}]}`, live: `{"c":[{"name":"b"}]}`, differs: "/c"},
		{name: "order of keyed items does not matter", want: `{"c":[{"name":"a","v":1},{"name":"b","v":2}]}`, live: `{"c":[{"name":"b","v":2},{"name":"a","v":1}]}`},
		{name: "an item changed", want: `{"c":[{"name":"a","v":1}]}`, live: `{"c":[{"name":"a","v":2}]}`, differs: "/c/0/v"},
		{name: "words in another order", want: `{"c":["a","b"]}`, live: `{"c":["b","a"]}`, differs: "/c/0"},
		{name: "one word more", want: `{"c":["a"]}`, live: `{"c":["a","b"]}`, differs: "/c"},
		{name: "items without keys", want: `{"c":[{"v":1}]}`, live: `{"c":[{"v":1,"w":2}]}`},
		{name: "whole numbers in two forms", want: `{"a":1}`, live: `{"a":1.0}`},
		{name: "another type", want: `{"a":[1]}`, live: `{"a":"1"}`, differs: "/a"},
		{name: "an empty text is left out by the cluster", want: `{"a":[{"name":"x","value":""}]}`, live: `{"a":[{"name":"x"}]}`},
		{name: "a number and its text differ", want: `{"a":1}`, live: `{"a":"1"}`, differs: "/a"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got := diff.Compare(value(t, r.want), value(t, r.live), diff.Shape{})
			assert.Equal(t, r.differs, got.Differs)
			assert.Equal(t, r.extra, got.Extra)
			assert.Equal(t, r.differs == "" && r.extra == nil, got.Clean())
		})
	}
}

func TestClosedPlacesHaveNothingElse(t *testing.T) {
	shape := diff.Shape{Closed: []string{"/spec"}, Filled: map[string]any{"/spec/c/*/path": "/dev/log", "/spec/policy": nil}}
	rows := []struct {
		name, want, live, differs string
		extra                     []string
	}{
		{name: "equal", want: `{"spec":{"a":1}}`, live: `{"spec":{"a":1},"status":{"b":1}}`},
		{name: "one more field", want: `{"spec":{"a":1}}`, live: `{"spec":{"a":1,"x/y":{}}}`, extra: []string{"/spec/x~1y"}},
		{name: "one more field deep below", want: `{"spec":{"c":[{"v":{"w":1}}]}}`, live: `{"spec":{"c":[{"v":{"w":1,"x":true}}]}}`, extra: []string{"/spec/c/0/v/x"}},
		{name: "everybody may come in", want: `{"spec":{"podSelector":{}}}`, live: `{"spec":{"podSelector":{},"ingress":[{}]}}`, extra: []string{"/spec/ingress"}},
		{name: "a selector was narrowed", want: `{"spec":{"podSelector":{}}}`, live: `{"spec":{"podSelector":{"matchLabels":{"a":"b"}}}}`, extra: []string{"/spec/podSelector/matchLabels"}},
		{name: "a peer was widened", want: `{"spec":{"to":[{"podSelector":{}}]}}`, live: `{"spec":{"to":[{"podSelector":{},"namespaceSelector":{}}]}}`, extra: []string{"/spec/to/0/namespaceSelector"}},
		{name: "an empty selector is gone", want: `{"spec":{"to":[{"podSelector":{}}]}}`, live: `{"spec":{"to":[{}]}}`, differs: "/spec/to/0/podSelector"},
		{name: "what the cluster fills in", want: `{"spec":{"c":[{"name":"a"}]}}`, live: `{"spec":{"policy":"any","none":null,"empty":[],"c":[{"name":"a","path":"/dev/log"}]}}`},
		{name: "the same field with another value", want: `{"spec":{"c":[{"name":"a"}]}}`, live: `{"spec":{"c":[{"name":"a","path":"/etc"}]}}`, extra: []string{"/spec/c/0/path"}},
		{
			name: "an item and fields of items", want: `{"spec":{"c":[{"name":"a"},{"name":"b"}]}}`,
			live:  `{"spec":{"c":[{"name":"a","x":1},{"name":"z"},{"name":"b","x":1}]}}`,
			extra: []string{"/spec/c/2/x", "/spec/c/1", "/spec/c/0/x"},
		},
		{name: "elsewhere others have fields of their own", want: `{"metadata":{"labels":{"a":"b"}}}`, live: `{"metadata":{"labels":{"a":"b","c":"d"}}}`},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got := diff.Compare(value(t, r.want), value(t, r.live), shape)
			assert.Equal(t, r.differs, got.Differs)
			assert.Equal(t, r.extra, got.Extra)
		})
	}
}

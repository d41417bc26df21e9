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
		{name: "a number and its text differ", want: `{"a":1}`, live: `{"a":"1"}`, differs: "/a"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got := diff.Compare(value(t, r.want), value(t, r.live))
			assert.Equal(t, r.differs, got.Differs)
			assert.Equal(t, r.extra, got.Extra)
			assert.Equal(t, r.differs == "" && r.extra == nil, got.Clean())
		})
	}
}

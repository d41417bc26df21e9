package sdl

import (
	"encoding/json"
	"strconv"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// GroupsJSON writes group specs in the JSON shape of the reference compiler:
// keys in order, amounts as strings, prices with 18 decimals.
func GroupsJSON(groups []market.GroupSpec) ([]byte, error) {
	b := []byte{'['}
	for i := range groups {
		g := &groups[i]
		b = comma(b, i)
		b = append(b, `{"name":`...)
		b = appendText(b, g.Name)
		b = append(b, `,"requirements":{"attributes":`...)
		b = manifest.AppendAttributes(b, g.Requirements.Attributes)
		b = append(b, `,"signed_by":{"all_of":`...)
		b = appendAddresses(b, g.Requirements.SignedBy.AllOf)
		b = append(b, `,"any_of":`...)
		b = appendAddresses(b, g.Requirements.SignedBy.AnyOf)
		b = append(b, `}},"resources":[`...)
		for j := range g.Units {
			u := &g.Units[j]
			b = comma(b, j)
			b = strconv.AppendUint(append(b, `{"count":`...), uint64(u.Count), 10)
			b = append(b, `,"price":{"amount":"`...)
			b = append(b, u.Price.AmountPerBlock.Fixed()...)
			b = append(b, `","denom":`...)
			b = appendText(b, u.Price.Denom)
			b = append(b, `},"resource":`...)
			b = manifest.AppendResources(b, &u.Resources)
			b = append(b, '}')
		}
		b = append(b, ']', '}')
	}
	return append(b, ']'), nil
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendText(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // a string cannot fail to marshal
	}
	return append(b, text...)
}

func appendAddresses(b []byte, list []market.Address) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, a := range list {
		b = appendText(comma(b, i), string(a))
	}
	return append(b, ']')
}

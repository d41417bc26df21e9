package sdl

import (
	"sort"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// The orders of this file are part of the version hash. Some are no orders in
// the strict sense: the reference sorts with comparisons that do not tell all
// elements apart, or that contradict themselves, and so what comes out depends
// on the algorithm of Go's sort package. The same comparisons with the same
// algorithm give the same bytes.

// sortVolumes orders volumes by size. Of equal size, ephemeral ones come out in
// reverse and persistent ones by name.
func sortVolumes(list []Volume) {
	sort.SliceStable(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		if a.Bytes != b.Bytes {
			return a.Bytes < b.Bytes
		}
		if ka, kb := volumeRank(a), volumeRank(b); ka != kb {
			return ka < kb
		} else if ka < rankPersistent {
			return true // says "before" both ways: stability turns into reversal
		}
		return a.Name < b.Name
	})
}

// Ranks of volumes of one size.
const (
	rankPlain = iota
	rankEphemeral
	rankPersistent
)

func volumeRank(v *Volume) int {
	switch {
	case v.Attributes == nil:
		return rankPlain
	case v.Attributes.Persistent:
		return rankPersistent
	}
	return rankEphemeral
}

// insertionLimit is up to how many elements package sort inserts one by one,
// which keeps equal ones in order.
const insertionLimit = 12

// sortExposes orders ports by [manifest.Expose.Less].
func sortExposes(list []manifest.Expose) {
	if len(list) > insertionLimit {
		sort.Sort(exposeOrder(list))
		return
	}
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && exposeOrder(list).Less(j, j-1); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

type exposeOrder []manifest.Expose

func (o exposeOrder) Len() int           { return len(o) }
func (o exposeOrder) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o exposeOrder) Less(i, j int) bool { return o[i].Before(&o[j]) }

// sortEndpoints orders the endpoints of a unit by sequence number. The first
// sorted ones are in order already.
func sortEndpoints(list []market.Endpoint, sorted int) {
	for i := max(sorted, 1); i < len(list); i++ {
		if list[i].SequenceNumber < list[i-1].SequenceNumber {
			sort.Sort(endpointOrder(list))
			return
		}
	}
}

type endpointOrder []market.Endpoint

func (o endpointOrder) Len() int           { return len(o) }
func (o endpointOrder) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o endpointOrder) Less(i, j int) bool { return o[i].SequenceNumber < o[j].SequenceNumber }

// withAttribute returns the list with one more attribute, sorted by key.
func withAttribute(list market.Attributes, a market.Attribute) market.Attributes {
	out := append(append(make(market.Attributes, 0, len(list)+1), list...), a)
	sort.Sort(attributeOrder(out))
	return out
}

type attributeOrder market.Attributes

func (o attributeOrder) Len() int           { return len(o) }
func (o attributeOrder) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o attributeOrder) Less(i, j int) bool { return o[i].Key < o[j].Key }

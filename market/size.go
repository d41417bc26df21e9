package market

// itemBytes is counted for every entry of a list beside its text: what a host
// needs to tell entries apart, and their numbers.
const itemBytes = 16

// Size is how large a group is, in bytes: its texts, and 16 for every unit,
// volume, endpoint, attribute, signer and name listed. What a host stores or sends
// is of that order.
func (g GroupSpec) Size() int {
	n := itemBytes + len(g.Name) + g.Requirements.size()
	for _, u := range g.Units {
		n += itemBytes + len(u.Price.Denom) + u.size()
	}
	return n
}

func (r Requirements) size() int {
	n := r.Attributes.Size() + textSize(r.SignedBy.AllOf) + textSize(r.SignedBy.AnyOf)
	n += textSize(r.Providers.Allowed) + textSize(r.Providers.Excluded)
	return n + textSize(r.DataCenters.Allowed) + textSize(r.DataCenters.Excluded)
}

func (r Resources) size() int {
	n := r.CPU.Attributes.Size() + r.Memory.Attributes.Size() + r.GPU.Attributes.Size() + itemBytes*len(r.Endpoints)
	for _, v := range r.Storage {
		n += itemBytes + len(v.Name) + v.Attributes.Size()
	}
	return n
}

// Size is how large the list is, in bytes, counted as by [GroupSpec.Size].
func (as Attributes) Size() int {
	n := 0
	for _, a := range as {
		n += itemBytes + len(a.Key) + len(a.Value)
	}
	return n
}

func textSize[T ~string](list []T) int {
	n := 0
	for _, s := range list {
		n += itemBytes + len(s)
	}
	return n
}

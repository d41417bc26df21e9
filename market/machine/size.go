package machine

import "github.com/moorage-dev/moorage/market"

// MaxPageBytes bounds the rows a list collects for one page, with the last row on
// top: far below what servers and clients take as one answer. A page that meets
// the bound ends early, with a token.
const MaxPageBytes = 1 << 20

// rowBytes is counted for each row beside what it holds without bound: its ID,
// with three addresses at most, and its numbers.
const rowBytes = 512

// sizeOf is about how large a row is in an answer, in bytes.
func sizeOf(row any) int {
	switch v := row.(type) {
	case market.Order:
		return rowBytes + v.Spec.Size()
	case market.Bid:
		return rowBytes + 64*len(v.Units)
	case market.Lease:
		if v.Scale != nil {
			return rowBytes + 16*len(v.Scale.Counts)
		}
	case market.Provider:
		return rowBytes + len(v.HostURI) + len(v.Email) + len(v.Website) + v.Attributes.Size()
	case market.Certificate:
		return rowBytes + len(v.DER)
	case market.Audit:
		return rowBytes + v.Attributes.Size()
	}
	return rowBytes
}

// Package bidengine decides whether to bid on an order, and at what price.
//
// [Decide] is a pure function of an order and a [Snapshot]: filters in a fixed
// order, then placement on the inventory, then the price. It answers with a
// [Decision] or with every [Reason] it found against bidding, so that an
// operator and a tenant can see why there is no bid. It reserves nothing and
// talks to nobody; package provider does that with the decision.
//
// The price comes from a [Pricer]. [Scale] charges fixed rates per resource;
// a program with an idea of its own implements the one method:
//
//	type halfPrice struct{ bidengine.Scale }
//
//	func (h halfPrice) Price(ctx context.Context, r bidengine.Request) (market.Decimal, error) { … }
package bidengine

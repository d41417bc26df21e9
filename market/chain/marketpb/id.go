package marketpb

import "github.com/moorage-dev/moorage/market"

// FromDeploymentID converts an ID.
func FromDeploymentID(id market.DeploymentID) DeploymentID {
	return DeploymentID{Owner: string(id.Owner), Dseq: id.DSeq}
}

// FromGroupID converts an ID.
func FromGroupID(id market.GroupID) GroupID {
	return GroupID{Owner: string(id.Owner), Dseq: id.DSeq, Gseq: id.GSeq}
}

// FromOrderID converts an ID.
func FromOrderID(id market.OrderID) OrderID {
	return OrderID{Owner: string(id.Owner), Dseq: id.DSeq, Gseq: id.GSeq, Oseq: id.OSeq}
}

// FromBidID converts the ID of a bid; for that of a lease see
// [market.LeaseID.Bid].
func FromBidID(id market.BidID) BidID {
	return BidID{Owner: string(id.Owner), Dseq: id.DSeq, Gseq: id.GSeq, Oseq: id.OSeq, Provider: string(id.Provider)}
}

// FromRetainerID converts an ID.
func FromRetainerID(id market.RetainerID) RetainerID {
	return RetainerID{Owner: string(id.Owner), Provider: string(id.Provider), Kind: id.Kind, Name: id.Name}
}

// ToRetainerID converts an ID.
func ToRetainerID(id RetainerID) market.RetainerID {
	return market.RetainerID{Owner: market.Address(id.Owner), Provider: market.Address(id.Provider), Kind: id.Kind, Name: id.Name}
}

// IDParts are the parts of any ID of the market, as flat messages carry them.
// Parts that an ID does not have are zero.
type IDParts struct {
	Owner      string
	Dseq       uint64
	Gseq, Oseq uint32
	Provider   string
}

// Deployment returns the deployment part.
func (p IDParts) Deployment() market.DeploymentID {
	return market.DeploymentID{Owner: market.Address(p.Owner), DSeq: p.Dseq}
}

// Group returns the group part.
func (p IDParts) Group() market.GroupID {
	return market.GroupID{DeploymentID: p.Deployment(), GSeq: p.Gseq}
}

// Order returns the order part.
func (p IDParts) Order() market.OrderID {
	return market.OrderID{GroupID: p.Group(), OSeq: p.Oseq}
}

// Bid returns the whole as the ID of a bid.
func (p IDParts) Bid() market.BidID {
	return market.BidID{OrderID: p.Order(), Provider: market.Address(p.Provider)}
}

// ToDeploymentID converts an ID.
func ToDeploymentID(id DeploymentID) market.DeploymentID {
	return IDParts{Owner: id.Owner, Dseq: id.Dseq}.Deployment()
}

// ToGroupID converts an ID.
func ToGroupID(id GroupID) market.GroupID {
	return IDParts{Owner: id.Owner, Dseq: id.Dseq, Gseq: id.Gseq}.Group()
}

// ToOrderID converts an ID.
func ToOrderID(id OrderID) market.OrderID {
	return IDParts{Owner: id.Owner, Dseq: id.Dseq, Gseq: id.Gseq, Oseq: id.Oseq}.Order()
}

// ToBidID converts an ID.
func ToBidID(id BidID) market.BidID { return IDParts(id).Bid() }

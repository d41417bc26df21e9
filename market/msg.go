package market

// Msg is something an account asks the market to do. The types below are the
// only ones.
type Msg interface {
	// Signer is the account that must have signed the message.
	Signer() Address
}

// CreateDeployment opens a deployment with its groups, one order per group,
// and its escrow account.
type CreateDeployment struct {
	ID     DeploymentID `json:"id"`
	Groups []GroupSpec  `json:"groups"`
	Hash   Hash         `json:"hash"`
	// Deposit is put into the escrow account; it comes from the owner.
	Deposit Coin `json:"deposit"`
}

// UpdateDeployment replaces the manifest hash. The groups stay.
type UpdateDeployment struct {
	ID   DeploymentID `json:"id"`
	Hash Hash         `json:"hash"`
}

// DepositDeployment adds money to the escrow account. Anyone may.
type DepositDeployment struct {
	ID        DeploymentID `json:"id"`
	Depositor Address      `json:"depositor"`
	Amount    Coin         `json:"amount"`
}

// CloseDeployment closes the deployment with all that belongs to it; what is
// left in escrow goes back to the depositors.
type CloseDeployment struct {
	ID DeploymentID `json:"id"`
}

// CloseGroup closes one group for good, with its order, bids and lease.
type CloseGroup struct {
	ID GroupID `json:"id"`
}

// PauseGroup closes the group's order, bids and lease; StartGroup opens a new
// order.
type PauseGroup struct {
	ID GroupID `json:"id"`
}

// StartGroup opens a new order for a paused or starved group.
type StartGroup struct {
	ID GroupID `json:"id"`
}

// CreateBid offers to run an order at a price.
type CreateBid struct {
	ID BidID `json:"id"`
	// Price is for the whole group as ordered, per block.
	Price Price `json:"price"`
	// Units are the prices per replica, of every unit in the order of the group.
	// They add up to Price. A group that is [GroupSpec.Scalable] demands them,
	// else they may be left out.
	Units []UnitPrice `json:"units,omitempty"`
	// Deposit comes from the provider and goes back when the bid ends.
	Deposit Coin `json:"deposit"`
}

// CloseBid takes a provider's bid back. If it has won, its lease closes for the
// reason given and the group is paused: at once, or after the notice that the
// group asks for in ReclaimBlocks.
type CloseBid struct {
	ID     BidID       `json:"id"`
	Reason CloseReason `json:"reason"`
}

// CreateLease accepts a bid. The other bids lose.
type CreateLease struct {
	ID BidID `json:"id"`
}

// CloseLease ends a lease by the tenant's wish; the group gets a new order.
type CloseLease struct {
	ID LeaseID `json:"id"`
}

// WithdrawLease settles a lease and pays the provider what it has earned.
type WithdrawLease struct {
	ID LeaseID `json:"id"`
}

// CreateProvider registers a provider.
type CreateProvider struct {
	Provider Provider `json:"provider"`
}

// UpdateProvider replaces a provider's facts.
type UpdateProvider struct {
	Provider Provider `json:"provider"`
}

// DeleteProvider removes a provider that has no active lease, no open bid and no
// open retainer.
type DeleteProvider struct {
	Owner Address `json:"owner"`
}

// CreateCertificate publishes a certificate of the owner.
type CreateCertificate struct {
	Owner Address `json:"owner"`
	// DER is the x.509 certificate: ECDSA P-256, common name = owner, for client
	// or server authentication.
	DER []byte `json:"der"`
}

// RevokeCertificate withdraws a certificate for good.
type RevokeCertificate struct {
	ID CertificateID `json:"id"`
}

// SignAudit says that a provider has attributes. It replaces what the auditor
// said of the provider before. Anyone may; tenants name whom they believe.
type SignAudit struct {
	Audit Audit `json:"audit"`
}

// RevokeAudit takes an auditor's word back.
type RevokeAudit struct {
	ID AuditID `json:"id"`
}

// Signer implements [Msg].
func (m CreateDeployment) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m UpdateDeployment) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m DepositDeployment) Signer() Address { return m.Depositor }

// Signer implements [Msg].
func (m CloseDeployment) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m CloseGroup) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m PauseGroup) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m StartGroup) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m CreateBid) Signer() Address { return m.ID.Provider }

// Signer implements [Msg].
func (m CloseBid) Signer() Address { return m.ID.Provider }

// Signer implements [Msg].
func (m CreateLease) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m CloseLease) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m WithdrawLease) Signer() Address { return m.ID.Provider }

// Signer implements [Msg].
func (m CreateProvider) Signer() Address { return m.Provider.Owner }

// Signer implements [Msg].
func (m UpdateProvider) Signer() Address { return m.Provider.Owner }

// Signer implements [Msg].
func (m DeleteProvider) Signer() Address { return m.Owner }

// Signer implements [Msg].
func (m CreateCertificate) Signer() Address { return m.Owner }

// Signer implements [Msg].
func (m RevokeCertificate) Signer() Address { return m.ID.Owner }

// Signer implements [Msg].
func (m SignAudit) Signer() Address { return m.Audit.ID.Auditor }

// Signer implements [Msg].
func (m RevokeAudit) Signer() Address { return m.ID.Auditor }

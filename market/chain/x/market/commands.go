package market

import (
	"strings"

	autocliv1 "cosmossdk.io/api/cosmos/autocli/v1"
)

// AutoCLIOptions says how commands for every message and query are made by
// cosmossdk.io/client/v2/autocli: the parts of an ID are arguments, the rest
// flags.
func (Module) AutoCLIOptions() *autocliv1.ModuleOptions {
	return &autocliv1.ModuleOptions{
		Tx: &autocliv1.ServiceCommandDescriptor{
			Service: "moorage.market.v1.Msg", Short: "Ask something of the market", RpcCommandOptions: messages(),
		},
		Query: &autocliv1.ServiceCommandDescriptor{
			Service: "moorage.market.v1.Query", Short: "Read the market", RpcCommandOptions: queries(),
		},
	}
}

// Parts of IDs, as messages and queries name them.
const (
	inDeployment = "owner dseq"
	inGroup      = inDeployment + " gseq"
	inOrder      = inGroup + " oseq"
	inBid        = inOrder + " provider"
)

// command makes a command of a method. arguments are the fields that are given
// by place; the signer is always --from.
func command(method, short, arguments string) *autocliv1.RpcCommandOptions {
	var kebab strings.Builder
	for i, r := range method {
		if i > 0 && r >= 'A' && r <= 'Z' {
			kebab.WriteByte('-')
		}
		kebab.WriteRune(r)
	}
	o := &autocliv1.RpcCommandOptions{RpcMethod: method, Short: short, Use: strings.ToLower(kebab.String())}
	for field := range strings.FieldsSeq(arguments) {
		o.PositionalArgs = append(o.PositionalArgs, &autocliv1.PositionalArgDescriptor{ProtoField: field})
		o.Use += " [" + field + "]"
	}
	return o
}

// messages are the commands below tx. The field of the signer is left out of
// the arguments.
func messages() []*autocliv1.RpcCommandOptions {
	const (
		mine  = "dseq"
		bid   = "dseq gseq oseq provider" // signed by the owner
		offer = inOrder                   // signed by the provider
	)
	byGovernance := command("UpdateParams", "Replace the parameters; proposes it to governance", "params")
	byGovernance.GovProposal = true
	return []*autocliv1.RpcCommandOptions{
		command("CreateDeployment", "Open a deployment with its groups and its escrow account", mine),
		command("UpdateDeployment", "Replace the manifest hash", mine+" hash"),
		command("DepositDeployment", "Add money to an escrow account", inDeployment+" amount"),
		command("CloseDeployment", "Close a deployment with all that belongs to it", mine),
		command("CloseGroup", "Close a group for good", mine+" gseq"),
		command("PauseGroup", "Close a group's order, bids and lease", mine+" gseq"),
		command("StartGroup", "Open a new order for a paused group", mine+" gseq"),
		command("CreateBid", "Offer to run an order at a price", offer),
		command("CloseBid", "Take a bid back, with its lease if it has won", offer),
		command("CreateLease", "Accept a bid", bid),
		command("CloseLease", "End a lease", bid),
		command("WithdrawLease", "Have what a lease has earned paid out", offer),
		command("ScaleLease", "Ask for other numbers of replicas", bid),
		command("ConfirmScale", "Accept a request to scale", offer+" number"),
		command("DeclineScale", "Refuse a request to scale", offer+" number"),
		command("OpenRetainer", "Begin a standing payment to a provider", "provider kind name"),
		command("DepositRetainer", "Add money to a retainer", "provider kind name amount"),
		command("WithdrawRetainer", "Have what a retainer has earned paid out", "owner kind name"),
		command("CloseRetainer", "End a retainer", "owner provider kind name"),
		command("CreateProvider", "Register as a provider", "host_uri"),
		command("UpdateProvider", "Replace a provider's facts", "host_uri"),
		command("DeleteProvider", "Stop being a provider", ""),
		command("CreateCertificate", "Publish an x.509 certificate", ""),
		command("RevokeCertificate", "Withdraw a certificate for good", "serial"),
		command("SignAudit", "Say that a provider has attributes", "provider"),
		command("RevokeAudit", "Take an auditor's word back", "provider"),
		byGovernance,
	}
}

// queries are the commands below query.
func queries() []*autocliv1.RpcCommandOptions {
	return []*autocliv1.RpcCommandOptions{
		command("Params", "The rules in force", ""),
		command("Balances", "What an account could spend now", "address"),
		command("Deployment", "A deployment", inDeployment),
		command("Deployments", "Deployments, by the parts of their ID and state", ""),
		command("Groups", "The groups of a deployment", inDeployment),
		command("Account", "The escrow account of a deployment", inDeployment),
		command("Order", "An order", inOrder),
		command("Orders", "Orders, by the parts of their ID and state", ""),
		command("Bid", "A bid", inBid),
		command("Bids", "Bids, by the parts of their ID and state", ""),
		command("Lease", "A lease", inBid),
		command("Leases", "Leases, by the parts of their ID and state", ""),
		command("Payment", "What a lease has earned and been paid", inBid),
		command("Retainer", "A retainer", "owner provider kind name"),
		command("Retainers", "Retainers, by the parts of their ID and state", ""),
		command("Provider", "A provider", "owner"),
		command("Providers", "All providers", ""),
		command("Certificate", "A certificate", "owner serial"),
		command("Certificates", "Certificates, by owner, serial number and state", ""),
		command("Audits", "What auditors say, by provider and auditor", ""),
	}
}

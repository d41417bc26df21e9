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

// usages say what a flag is for, by the field that it sets. What is given in JSON
// has an example.
func usages() map[string]string {
	return map[string]string{
		"attributes": `a fact about the provider, as {"key":"region","value":"eu-west"}`,
		"auditor":    "who has signed",
		"counts":     `replicas that a unit shall have, as {"unit":1,"count":3}`,
		"deposit":    "what to put into escrow, as 5000000uact",
		"der":        "the certificate in DER form: a file, hexadecimal or Base64",
		"dseq":       "number of the deployment, with --owner",
		"email":      "where tenants write to",
		"expires_at": "when it ends: the height for retainers, the time for audits, as 2027-01-31T00:00:00Z; never if not given",
		"groups":     "a group of the deployment in JSON, or a .json file",
		"gseq":       "number of the group, with --dseq",
		"hash":       "SHA-256 of the manifest, hexadecimal or Base64",
		"kind":       `what is retained, as "address"`,
		"live":       "leases that are not closed",
		"max_price":  `the most that it may cost then, as {"denom":"uact","amount_per_block":"1.5"}`,
		"name":       "name of the retainer",
		"oseq":       "number of the order, with --gseq",
		"owner":      "address of the owner",
		"price":      `as {"denom":"uact","amount_per_block":"1.5"}`,
		"provider":   "address of the provider",
		"reason":     "why a lease ends: 10000 unstable, 10001 decommission, 10002 unspecified, 10003 no manifest came",
		"serial":     "serial number, with --owner",
		"state":      "what is listed",
		"units":      `price per replica of a unit, for groups that can be scaled, as {"unit":1,"amount_per_block":"1.5"}`,
		"website":    "where tenants read about the provider",
	}
}

// flagged adds what the flags of a command are for. fields are all that are not
// given by place.
func flagged(o *autocliv1.RpcCommandOptions, fields string) *autocliv1.RpcCommandOptions {
	o.FlagOptions = make(map[string]*autocliv1.FlagOptions)
	usage := usages()
	for field := range strings.FieldsSeq(fields) {
		o.FlagOptions[field] = &autocliv1.FlagOptions{Usage: usage[field]}
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
		flagged(command("CreateDeployment", "Open a deployment with its groups and its escrow account", mine), "groups hash deposit"),
		command("UpdateDeployment", "Replace the manifest hash", mine+" hash"),
		command("DepositDeployment", "Add money to an escrow account", inDeployment+" amount"),
		command("CloseDeployment", "Close a deployment with all that belongs to it", mine),
		command("CloseGroup", "Close a group for good", mine+" gseq"),
		command("PauseGroup", "Close a group's order, bids and lease", mine+" gseq"),
		command("StartGroup", "Open a new order for a paused group", mine+" gseq"),
		flagged(command("CreateBid", "Offer to run an order at a price", offer), "price deposit units"),
		flagged(command("CloseBid", "Take a bid back, with its lease if it has won", offer), "reason"),
		command("CreateLease", "Accept a bid", bid),
		command("CloseLease", "End a lease", bid),
		command("WithdrawLease", "Have what a lease has earned paid out", offer),
		flagged(command("ScaleLease", "Ask for other numbers of replicas", bid), "counts max_price hash"),
		command("ConfirmScale", "Accept a request to scale", offer+" number"),
		command("DeclineScale", "Refuse a request to scale", offer+" number"),
		flagged(command("OpenRetainer", "Begin a standing payment to a provider", "provider kind name"), "price deposit expires_at"),
		command("DepositRetainer", "Add money to a retainer", "provider kind name amount"),
		command("WithdrawRetainer", "Have what a retainer has earned paid out", "owner kind name"),
		command("CloseRetainer", "End a retainer", "owner provider kind name"),
		flagged(command("CreateProvider", "Register as a provider", "host_uri"), "attributes email website"),
		flagged(command("UpdateProvider", "Replace a provider's facts", "host_uri"), "attributes email website"),
		command("DeleteProvider", "Stop being a provider", ""),
		flagged(command("CreateCertificate", "Publish an x.509 certificate", ""), "der"),
		command("RevokeCertificate", "Withdraw a certificate for good", "serial"),
		flagged(command("SignAudit", "Say that a provider has attributes", "provider"), "attributes expires_at"),
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
		flagged(command("Deployments", "Deployments, by the parts of their ID and state", ""), "owner dseq state"),
		command("Groups", "The groups of a deployment", inDeployment),
		command("Account", "The escrow account of a deployment", inDeployment),
		command("Order", "An order", inOrder),
		flagged(command("Orders", "Orders, by the parts of their ID and state", ""), "owner dseq gseq oseq state"),
		command("Bid", "A bid", inBid),
		flagged(command("Bids", "Bids, by the parts of their ID and state", ""), "owner dseq gseq oseq provider state"),
		command("Lease", "A lease", inBid),
		flagged(command("Leases", "Leases, by the parts of their ID and state", ""), "owner dseq gseq oseq provider state live"),
		command("Payment", "What a lease has earned and been paid", inBid),
		command("Retainer", "A retainer", "owner provider kind name"),
		flagged(command("Retainers", "Retainers, by the parts of their ID and state", ""), "owner provider kind name state"),
		command("Provider", "A provider", "owner"),
		command("Providers", "All providers", ""),
		command("Certificate", "A certificate", "owner serial"),
		flagged(command("Certificates", "Certificates, by owner, serial number and state", ""), "owner serial state"),
		flagged(command("Audits", "What auditors say, by provider and auditor", ""), "provider auditor"),
	}
}

package node_test

import (
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	cmthttp "github.com/cometbft/cometbft/rpc/client/http"
	cmttypes "github.com/cometbft/cometbft/types"
	gogoproto "github.com/cosmos/gogoproto/proto"
	transfertypes "github.com/cosmos/ibc-go/v11/modules/apps/transfer/types"
	clienttypes "github.com/cosmos/ibc-go/v11/modules/core/02-client/types"
	connectiontypes "github.com/cosmos/ibc-go/v11/modules/core/03-connection/types"
	channeltypes "github.com/cosmos/ibc-go/v11/modules/core/04-channel/types"
	commitment "github.com/cosmos/ibc-go/v11/modules/core/23-commitment/types"
	host "github.com/cosmos/ibc-go/v11/modules/core/24-host"
	"github.com/cosmos/ibc-go/v11/modules/core/exported"
	tendermint "github.com/cosmos/ibc-go/v11/modules/light-clients/07-tendermint"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/app"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// Names that two fresh chains give to the first of each thing.
const (
	lightClient = "07-tendermint-0"
	connection  = "connection-0"
	channel     = "channel-0"
	port        = transfertypes.PortID
)

// end is one end of the path between two chains: a node of a chain, asked over
// HTTP, and the relayer's account there.
type end struct {
	t       *testing.T
	node    *node.Node
	rpc     *cmthttp.HTTP
	relayer *client.Client
	// trusted is the height of the other chain that the light client here knows.
	trusted clienttypes.Height
}

func newEnd(t *testing.T, g app.Genesis) *end {
	t.Helper()
	n, _ := start(t, node.Config{Genesis: g, RPCAddress: "127.0.0.1:0"})
	rpc, err := cmthttp.New("http://"+n.Addresses().RPC, "/websocket")
	require.NoError(t, err)
	return &end{t: t, node: n, rpc: rpc, relayer: dial(t, n, account("relayer"))}
}

// send has messages of the relayer carried out and returns the height.
func (e *end) send(msgs ...gogoproto.Message) int64 {
	e.t.Helper()
	receipt, err := e.relayer.SubmitWire(e.t.Context(), msgs...)
	require.NoError(e.t, err)
	return receipt.Height
}

func (e *end) signer() string { return string(e.relayer.Address()) }

func (e *end) height(h int64) clienttypes.Height {
	return clienttypes.NewHeight(clienttypes.ParseChainID(e.node.ChainID()), uint64(h))
}

// header reads the block header of a height with the signatures of it.
func (e *end) header(h int64) *tendermint.Header {
	e.t.Helper()
	commit, err := e.rpc.Commit(e.t.Context(), &h)
	require.NoError(e.t, err)
	return &tendermint.Header{SignedHeader: commit.ToProto()}
}

func (e *end) withValidators(h int64, into **validatorSet) {
	e.t.Helper()
	res, err := e.rpc.Validators(e.t.Context(), &h, nil, nil)
	require.NoError(e.t, err)
	set := cmttypes.NewValidatorSet(res.Validators)
	set.Proposer = set.GetProposer()
	*into, err = set.ToProto()
	require.NoError(e.t, err)
	(*into).TotalVotingPower = set.TotalVotingPower()
}

// newest returns a height whose block the validators have signed.
func (e *end) newest() int64 {
	e.t.Helper()
	commit, err := e.rpc.Commit(e.t.Context(), nil)
	require.NoError(e.t, err)
	return commit.Height
}

// createClient makes the light client of the other chain.
func (e *end) createClient(other *end) {
	e.t.Helper()
	h := other.newest()
	header := other.header(h)
	e.trusted = other.height(h)
	msg, err := clienttypes.NewMsgCreateClient(
		tendermint.NewClientState(other.node.ChainID(), tendermint.DefaultTrustLevel, 14*24*time.Hour, 21*24*time.Hour,
			10*time.Second, e.trusted, commitment.GetSDKSpecs(), []string{"upgrade", "upgradedIBCState"}),
		tendermint.NewConsensusState(header.GetTime(), commitment.NewMerkleRoot(header.Header.AppHash), header.Header.NextValidatorsHash),
		e.signer())
	require.NoError(e.t, err)
	e.send(msg)
}

// update returns the message by which the light client learns of a block of the
// other chain.
func (e *end) update(other *end, h int64) gogoproto.Message {
	e.t.Helper()
	header := other.header(h)
	other.withValidators(h, &header.ValidatorSet)
	header.TrustedHeight = e.trusted
	other.withValidators(int64(e.trusted.RevisionHeight)+1, &header.TrustedValidators)
	msg, err := clienttypes.NewMsgUpdateClient(lightClient, header, e.signer())
	require.NoError(e.t, err)
	e.trusted = other.height(h)
	return msg
}

// prove waits until a block after one proves what the store has under a key,
// and returns the message that brings that block to the other end.
func (e *end) prove(other *end, after int64, key []byte) (update gogoproto.Message, proof []byte, at clienttypes.Height) {
	e.t.Helper()
	require.Eventually(e.t, func() bool { return e.newest() > after+1 }, patience, 10*time.Millisecond)
	res, err := e.rpc.ABCIQueryWithOptions(e.t.Context(), "store/"+exported.StoreKey+"/key", key,
		rpcclient.ABCIQueryOptions{Height: after + 1, Prove: true})
	require.NoError(e.t, err)
	require.NotEmpty(e.t, res.Response.Value, res.Response.Log)
	merkle, err := commitment.ConvertProofs(res.Response.ProofOps)
	require.NoError(e.t, err)
	proof, err = merkle.Marshal()
	require.NoError(e.t, err)
	h := res.Response.Height + 1 // the next header has the hash of this state
	require.Eventually(e.t, func() bool { return e.newest() >= h }, patience, 10*time.Millisecond)
	return other.update(e, h), proof, e.height(h)
}

// connect makes clients, a connection and a channel for transfers.
func connect(a, b *end) {
	a.createClient(b)
	b.createClient(a)
	prefix := commitment.NewMerklePrefix([]byte(exported.StoreKey))
	versions := connectiontypes.GetCompatibleVersions()

	h := a.send(connectiontypes.NewMsgConnectionOpenInit(lightClient, lightClient, prefix, versions[0], 0, a.signer()))
	update, proof, at := a.prove(b, h, host.ConnectionKey(connection))
	h = b.send(update, connectiontypes.NewMsgConnectionOpenTry(lightClient, connection, lightClient, prefix, versions, 0, proof, at, b.signer()))
	update, proof, at = b.prove(a, h, host.ConnectionKey(connection))
	h = a.send(update, connectiontypes.NewMsgConnectionOpenAck(connection, connection, proof, at, versions[0], a.signer()))
	update, proof, at = a.prove(b, h, host.ConnectionKey(connection))
	b.send(update, connectiontypes.NewMsgConnectionOpenConfirm(connection, proof, at, b.signer()))

	hops := []string{connection}
	h = a.send(channeltypes.NewMsgChannelOpenInit(port, transfertypes.V1, channeltypes.UNORDERED, hops, port, a.signer()))
	update, proof, at = a.prove(b, h, host.ChannelKey(port, channel))
	h = b.send(update, channeltypes.NewMsgChannelOpenTry(port, transfertypes.V1, channeltypes.UNORDERED, hops, port, channel, transfertypes.V1, proof, at, b.signer()))
	update, proof, at = b.prove(a, h, host.ChannelKey(port, channel))
	h = a.send(update, channeltypes.NewMsgChannelOpenAck(port, channel, channel, transfertypes.V1, proof, at, a.signer()))
	update, proof, at = a.prove(b, h, host.ChannelKey(port, channel))
	b.send(update, channeltypes.NewMsgChannelOpenConfirm(port, channel, proof, at, b.signer()))
}

// event finds the first event of a type among those of a block's transactions.
func (e *end) event(h int64, kind string) map[string]string {
	e.t.Helper()
	res, err := e.rpc.BlockResults(e.t.Context(), &h)
	require.NoError(e.t, err)
	for _, tx := range res.TxsResults {
		for _, event := range tx.Events {
			if event.Type == kind {
				return attributes(event)
			}
		}
	}
	require.Fail(e.t, "no event "+kind)
	return nil
}

func attributes(e abci.Event) map[string]string {
	out := make(map[string]string, len(e.Attributes))
	for _, a := range e.Attributes {
		out[a.Key] = a.Value
	}
	return out
}

// transfer sends a coin of an account of a to an account of b, and relays the
// packet and its acknowledgement.
func transfer(a, b *end, from *client.Client, to market.Address, coin market.Coin) {
	t := a.t
	t.Helper()
	receipt, err := from.SubmitWire(t.Context(), transfertypes.NewMsgTransfer(port, channel, sdkCoin(coin),
		string(from.Address()), string(to), clienttypes.ZeroHeight(), uint64(time.Now().Add(time.Hour).UnixNano()), ""))
	require.NoError(t, err)
	sent := a.event(receipt.Height, channeltypes.EventTypeSendPacket)
	packet := packetOf(t, sent)

	update, proof, at := a.prove(b, receipt.Height, host.PacketCommitmentKey(port, channel, packet.Sequence))
	h := b.send(update, channeltypes.NewMsgRecvPacket(packet, proof, at, b.signer()))
	ack, err := hex.DecodeString(b.event(h, channeltypes.EventTypeWriteAck)[channeltypes.AttributeKeyAckHex])
	require.NoError(t, err)
	update, proof, at = b.prove(a, h, host.PacketAcknowledgementKey(port, channel, packet.Sequence))
	a.send(update, channeltypes.NewMsgAcknowledgement(packet, ack, proof, at, a.signer()))
}

func packetOf(t *testing.T, sent map[string]string) channeltypes.Packet {
	t.Helper()
	data, err := hex.DecodeString(sent[channeltypes.AttributeKeyDataHex])
	require.NoError(t, err)
	sequence, err := strconv.ParseUint(sent[channeltypes.AttributeKeySequence], 10, 64)
	require.NoError(t, err)
	until, err := strconv.ParseUint(sent[channeltypes.AttributeKeyTimeoutTimestamp], 10, 64)
	require.NoError(t, err)
	return channeltypes.NewPacket(data, sequence, port, channel, port, channel, clienttypes.ZeroHeight(), until)
}

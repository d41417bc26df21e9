package app

import (
	"fmt"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/std"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	"github.com/cosmos/cosmos-sdk/x/tx/signing"
	"github.com/cosmos/gogoproto/proto"
)

// encoding is the codecs of one application.
type encoding struct {
	registry codectypes.InterfaceRegistry
	codec    codec.Codec
	amino    *codec.LegacyAmino
	tx       client.TxConfig
}

func newEncoding() (encoding, error) {
	registry, err := codectypes.NewInterfaceRegistryWithOptions(codectypes.InterfaceRegistryOptions{
		ProtoFiles: proto.HybridResolver,
		SigningOptions: signing.Options{
			AddressCodec:          address.NewBech32Codec(sdk.GetConfig().GetBech32AccountAddrPrefix()),
			ValidatorAddressCodec: address.NewBech32Codec(sdk.GetConfig().GetBech32ValidatorAddrPrefix()),
		},
	})
	if err != nil {
		return encoding{}, fmt.Errorf("app: codec: %w", err)
	}
	if err := registry.SigningContext().Validate(); err != nil {
		return encoding{}, fmt.Errorf("app: signers of messages: %w", err)
	}
	protoCodec := codec.NewProtoCodec(registry)
	tx, err := authtx.NewTxConfigWithOptions(protoCodec, authtx.ConfigOptions{
		EnabledSignModes: authtx.DefaultSignModes,
		SigningContext:   registry.SigningContext(),
	})
	if err != nil {
		return encoding{}, fmt.Errorf("app: transactions: %w", err)
	}
	e := encoding{registry: registry, codec: protoCodec, amino: codec.NewLegacyAmino(), tx: tx}
	std.RegisterInterfaces(e.registry)
	std.RegisterLegacyAminoCodec(e.amino)
	return e, nil
}

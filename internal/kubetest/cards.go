package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	dra "k8s.io/kubelet/pkg/apis/dra/v1"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Cards is a driver of dynamic resource allocation on one node, as a maker of
// cards has one: it publishes devices, the scheduler allocates them, the kubelet
// has them prepared before a pod starts. The devices are names and nothing else.
// Methods may be called concurrently.
type Cards struct {
	dra.UnimplementedDRAPluginServer
	registration.UnimplementedRegistrationServer

	client       kubernetes.Interface
	driver, node string
	endpoint     string
	servers      []*grpc.Server
	serving      sync.WaitGroup
	registered   chan struct{}
	once         sync.Once // closes registered

	mu       sync.Mutex // guards prepared
	prepared map[string][]string
}

// Cards makes devices of a driver on node n, with a device class of the driver's
// name. Close them.
func (c *Cluster) Cards(ctx context.Context, driver string, n int, devices ...resourcev1.Device) (*Cards, error) {
	if c.m == nil {
		return nil, ErrNotOurs
	}
	kubelet := filepath.Join(c.m.dir, nodeName(n), "kubelet")
	p := &Cards{
		client: c.client, driver: driver, node: nodeName(n), endpoint: filepath.Join(kubelet, "plugins", driver, "dra.sock"),
		registered: make(chan struct{}), prepared: map[string][]string{},
	}
	err := p.publish(ctx, devices)
	if err == nil {
		err = p.listen(p.endpoint, func(s *grpc.Server) { dra.RegisterDRAPluginServer(s, p) })
	}
	if err == nil {
		err = p.listen(filepath.Join(kubelet, "plugins_registry", driver+".sock"), func(s *grpc.Server) { registration.RegisterRegistrationServer(s, p) })
	}
	if err == nil {
		err = p.awaitRegistration(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("kubetest: cards: %w", err), p.Close(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// publish makes the device class and the node's slice.
func (p *Cards) publish(ctx context.Context, devices []resourcev1.Device) error {
	_, err := p.client.ResourceV1().DeviceClasses().Create(ctx, &resourcev1.DeviceClass{
		ObjectMeta: metav1.ObjectMeta{Name: p.driver},
		Spec: resourcev1.DeviceClassSpec{Selectors: []resourcev1.DeviceSelector{{
			CEL: &resourcev1.CELDeviceSelector{Expression: fmt.Sprintf("device.driver == %q", p.driver)},
		}}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err = p.client.ResourceV1().ResourceSlices().Create(ctx, &resourcev1.ResourceSlice{
		ObjectMeta: metav1.ObjectMeta{Name: p.sliceName()},
		Spec: resourcev1.ResourceSliceSpec{
			Driver: p.driver, NodeName: &p.node, Devices: devices,
			Pool: resourcev1.ResourcePool{Name: p.node, Generation: 1, ResourceSliceCount: 1},
		},
	}, metav1.CreateOptions{})
	return err
}

func (p *Cards) sliceName() string { return p.node + "-" + p.driver }

// listen serves on a socket.
func (p *Cards) listen(path string, register func(*grpc.Server)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	register(s)
	p.servers = append(p.servers, s)
	p.serving.Go(func() { _ = s.Serve(l) }) // ends when it is stopped
	return nil
}

func (p *Cards) awaitRegistration(ctx context.Context) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.registered:
		return nil
	case <-late.C:
		return errors.New("the kubelet does not register the driver")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close takes devices and class away.
func (p *Cards) Close(ctx context.Context) error {
	for _, s := range p.servers {
		s.Stop()
	}
	p.serving.Wait()
	var faults error
	for _, err := range []error{
		p.client.ResourceV1().ResourceSlices().Delete(ctx, p.sliceName(), metav1.DeleteOptions{}),
		p.client.ResourceV1().DeviceClasses().Delete(ctx, p.driver, metav1.DeleteOptions{}),
	} {
		if !apierrors.IsNotFound(err) {
			faults = errors.Join(faults, err)
		}
	}
	return faults
}

// Prepared returns the devices that pods of a namespace have, sorted.
func (p *Cards) Prepared(namespace string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.prepared[namespace])
}

// GetInfo implements the kubelet's registration.
func (p *Cards) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.DRAPlugin, Name: p.driver, Endpoint: p.endpoint, SupportedVersions: []string{dra.DRAPluginService},
	}, nil
}

// NotifyRegistrationStatus implements the kubelet's registration.
func (p *Cards) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if s.GetPluginRegistered() {
		p.once.Do(func() { close(p.registered) })
	}
	return &registration.RegistrationStatusResponse{}, nil
}

// NodePrepareResources implements the kubelet's contract with drivers.
func (p *Cards) NodePrepareResources(ctx context.Context, in *dra.NodePrepareResourcesRequest) (*dra.NodePrepareResourcesResponse, error) {
	out := &dra.NodePrepareResourcesResponse{Claims: map[string]*dra.NodePrepareResourceResponse{}}
	for _, c := range in.GetClaims() {
		answer := &dra.NodePrepareResourceResponse{}
		out.Claims[c.GetUid()] = answer
		claim, err := p.client.ResourceV1().ResourceClaims(c.GetNamespace()).Get(ctx, c.GetName(), metav1.GetOptions{})
		if err != nil || claim.Status.Allocation == nil {
			answer.Error = fmt.Sprintf("claim %s/%s: not allocated (%v)", c.GetNamespace(), c.GetName(), err)
			continue
		}
		for _, r := range claim.Status.Allocation.Devices.Results {
			if r.Driver == p.driver {
				answer.Devices = append(answer.Devices, &dra.Device{RequestNames: []string{r.Request}, PoolName: r.Pool, DeviceName: r.Device})
			}
		}
		p.note(c.GetNamespace(), answer.Devices)
	}
	return out, nil
}

func (p *Cards) note(namespace string, devices []*dra.Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range devices {
		p.prepared[namespace] = append(p.prepared[namespace], d.GetDeviceName())
	}
	slices.Sort(p.prepared[namespace])
	p.prepared[namespace] = slices.Compact(p.prepared[namespace])
}

// NodeUnprepareResources implements the kubelet's contract with drivers.
func (p *Cards) NodeUnprepareResources(_ context.Context, in *dra.NodeUnprepareResourcesRequest) (*dra.NodeUnprepareResourcesResponse, error) {
	out := &dra.NodeUnprepareResourcesResponse{Claims: map[string]*dra.NodeUnprepareResourceResponse{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range in.GetClaims() {
		out.Claims[c.GetUid()] = &dra.NodeUnprepareResourceResponse{}
		delete(p.prepared, c.GetNamespace())
	}
	return out, nil
}

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	failures "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// node stands in for the kubelets of a cluster: it registers its nodes, keeps them Ready, and says of each pod that was scheduled to one
// of them what appears() decides. It starts no process. Each pod is a key in a queue; everything about it is read anew when its turn comes.
const (
	workers          = 8
	heartbeatSeconds = 5
	nodePrefix       = "node-"
)

type node struct {
	api     kubernetes.Interface
	names   []string
	port    int32
	pods    cache.Indexer
	queue   workqueue.TypedRateLimitingInterface[string]
	lock    sync.Mutex
	memory  map[types.UID]memory
	address int
}

// memory is what is known of a pod beyond what the API says.
type memory struct {
	behaviour, stage, address string
	started                   time.Time
}

func nodeName(number int) string { return fmt.Sprint(nodePrefix, number+1) }

func runNode(arguments []string) error {
	flags := flag.NewFlagSet("node", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	count := flags.Int("nodes", 1, "how many nodes to stand in for")
	port := flags.Int("port", 0, "where logs are served")
	certificate := flags.String("certificate", "", "of this server")
	key := flags.String("key", "", "of that certificate")
	authority := flags.String("authority", "", "that the API server's client certificate is signed by")
	_ = flags.Parse(arguments)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.ContentType = -1, "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	agent := &node{api: api, port: int32(*port), memory: map[types.UID]memory{}}
	for number := range *count {
		agent.names = append(agent.names, nodeName(number))
	}
	agent.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 2*time.Second))
	go agent.watch(context.Background())
	go agent.beat(context.Background())
	for range workers {
		go agent.work(context.Background())
	}
	return serveLogs(agent, *port, *certificate, *key, *authority)
}

func (agent *node) watch(ctx context.Context) {
	source := cache.NewListWatchFromClient(agent.api.CoreV1().RESTClient(), "pods", "", fields.OneTermNotEqualSelector("spec.nodeName", ""))
	informer := cache.NewSharedIndexInformer(source, &v1.Pod{}, 0, cache.Indexers{})
	_ = informer.SetTransform(func(object any) (any, error) {
		if pod, ok := object.(*v1.Pod); ok {
			pod.ManagedFields = nil
		}
		return object, nil
	})
	enqueue := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			agent.queue.Add(key)
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, now any) { enqueue(now) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if pod, ok := object.(*v1.Pod); ok {
				agent.forget(pod.UID)
			}
		},
	})
	agent.lock.Lock()
	agent.pods = informer.GetIndexer()
	agent.lock.Unlock()
	informer.RunWithContext(ctx)
}

func (agent *node) find(key string) *v1.Pod {
	agent.lock.Lock()
	pods := agent.pods
	agent.lock.Unlock()
	if pods == nil {
		return nil
	}
	object, found, _ := pods.GetByKey(key)
	if pod, ok := object.(*v1.Pod); found && ok && slices.Contains(agent.names, pod.Spec.NodeName) {
		return pod
	}
	return nil
}

// Pods

func (agent *node) work(ctx context.Context) {
	for {
		key, ended := agent.queue.Get()
		if ended {
			return
		}
		next, err := agent.attend(ctx, agent.find(key))
		switch {
		case err != nil && !failures.IsNotFound(err):
			agent.queue.AddRateLimited(key)
		case next > 0:
			agent.queue.Forget(key)
			agent.queue.AddAfter(key, next)
		default:
			agent.queue.Forget(key)
		}
		agent.queue.Done(key)
	}
}

func (agent *node) attend(ctx context.Context, pod *v1.Pod) (time.Duration, error) {
	if pod == nil {
		return 0, nil
	}
	if pod.DeletionTimestamp != nil {
		return agent.end(ctx, pod)
	}
	if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
		return 0, nil
	}
	known := agent.recall(pod)
	shown := appears(pod, known.started, time.Since(known.started))
	if shown.status == nil {
		return shown.next, nil
	}
	shown.status.HostIP, shown.status.HostIPs = "127.0.0.1", []v1.HostIP{{IP: "127.0.0.1"}}
	shown.status.PodIP, shown.status.PodIPs = known.address, []v1.PodIP{{IP: known.address}}
	if known.stage == shown.stage && agrees(&pod.Status, shown.status) {
		return shown.next, nil
	}
	for _, condition := range pod.Status.Conditions { // the scheduler's, and those of readiness gates
		if !slices.ContainsFunc(shown.status.Conditions, func(ours v1.PodCondition) bool { return ours.Type == condition.Type }) {
			shown.status.Conditions = append(shown.status.Conditions, condition)
		}
	}
	if err := agent.say(ctx, pod, shown.status); err != nil {
		return 0, err
	}
	if known.stage != shown.stage {
		known.stage = shown.stage
		agent.remember(pod.UID, known)
		agent.report(ctx, pod, shown.events)
	}
	return shown.next, nil
}

// say writes a status, unless the pod has changed since it was read. A strategic merge would keep a condition's old reason.
func (agent *node) say(ctx context.Context, pod *v1.Pod, status *v1.PodStatus) error {
	read := map[string]any{"uid": pod.UID, "resourceVersion": pod.ResourceVersion}
	patch, err := json.Marshal(map[string]any{"metadata": read, "status": status})
	if err != nil {
		return err
	}
	_, err = agent.api.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// agrees tells whether the API already says what is to be said. Times are left out: they only differ by what was cut off of them.
func agrees(is, wanted *v1.PodStatus) bool {
	if is.Phase != wanted.Phase || is.ObservedGeneration != wanted.ObservedGeneration || len(is.ContainerStatuses) != len(wanted.ContainerStatuses) {
		return false
	}
	for number, container := range wanted.ContainerStatuses {
		known := is.ContainerStatuses[number]
		same := known.Ready == container.Ready && known.RestartCount == container.RestartCount && known.Image == container.Image &&
			equality.Semantic.DeepEqual(known.State.Waiting, container.State.Waiting) &&
			(known.State.Running == nil) == (container.State.Running == nil)
		if !same {
			return false
		}
	}
	return slices.EqualFunc(steady(is), steady(wanted), func(one, other v1.PodCondition) bool {
		return one.Type == other.Type && one.Status == other.Status && one.Reason == other.Reason
	})
}

func steady(status *v1.PodStatus) []v1.PodCondition {
	kinds := []v1.PodConditionType{v1.PodInitialized, v1.ContainersReady, v1.PodReady}
	found := map[v1.PodConditionType]v1.PodCondition{}
	for _, condition := range status.Conditions {
		if slices.Contains(kinds, condition.Type) {
			found[condition.Type] = condition
		}
	}
	return slices.SortedFunc(maps.Values(found), func(one, other v1.PodCondition) int {
		return strings.Compare(string(one.Type), string(other.Type))
	})
}

// recall finds or begins the memory of a pod. Another behaviour than before begins anew, so that a running pod can be made ill and well.
func (agent *node) recall(pod *v1.Pod) memory {
	agent.lock.Lock()
	defer agent.lock.Unlock()
	known, found := agent.memory[pod.UID]
	if !found {
		known.started, known.address = time.Now(), pod.Status.PodIP
		if pod.Status.StartTime != nil { // seen by an earlier run of this agent
			known.started = pod.Status.StartTime.Time
		}
		if known.address == "" {
			agent.address++
			known.address = fmt.Sprintf("10.%d.%d.%d", 200+agent.address/64_000%50, agent.address/250%256, 1+agent.address%250)
		}
	} else if known.behaviour != pod.Annotations[behaviourAnnotation] {
		known.started, known.stage = time.Now().Add(-startDelay), ""
	}
	known.behaviour = pod.Annotations[behaviourAnnotation]
	agent.memory[pod.UID] = known
	return known
}

func (agent *node) remember(uid types.UID, known memory) {
	agent.lock.Lock()
	defer agent.lock.Unlock()
	agent.memory[uid] = known
}

func (agent *node) forget(uid types.UID) {
	agent.lock.Lock()
	defer agent.lock.Unlock()
	delete(agent.memory, uid)
}

// end lets a pod take the time to stop that it asked for, within its grace.
func (agent *node) end(ctx context.Context, pod *v1.Pod) (time.Duration, error) {
	if wanted, err := time.ParseDuration(pod.Annotations[stopAnnotation]); err == nil && pod.DeletionGracePeriodSeconds != nil {
		grace := time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
		begun := pod.DeletionTimestamp.Add(-grace)
		if left := min(wanted, grace) - time.Since(begun); left > 0 {
			return left, nil
		}
	}
	now := int64(0)
	return 0, agent.api.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
}

// report writes events. One that is lost does no harm, as with a real kubelet.
func (agent *node) report(ctx context.Context, pod *v1.Pod, events []happening) {
	now := metav1.Now()
	for number, event := range events {
		_, _ = agent.api.CoreV1().Events(pod.Namespace).Create(ctx, &v1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: fmt.Sprintf("%s.%x.%d", pod.Name, now.UnixNano(), number)},
			InvolvedObject: v1.ObjectReference{
				APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
				FieldPath: "spec.containers{" + pod.Spec.Containers[0].Name + "}",
			},
			Type: event.kind, Reason: event.reason, Message: event.message, Count: 1, FirstTimestamp: now, LastTimestamp: now,
			Source: v1.EventSource{Component: "kubelet", Host: pod.Spec.NodeName}, ReportingController: "kubelet", ReportingInstance: pod.Spec.NodeName,
		}, metav1.CreateOptions{})
	}
}

// Nodes

func (agent *node) beat(ctx context.Context) {
	for {
		pause := heartbeatSeconds * time.Second
		for _, name := range agent.names {
			if err := agent.appear(ctx, name); err != nil {
				pause = 100 * time.Millisecond // the API server is not there yet, or not there just now
			}
		}
		time.Sleep(pause)
	}
}

func (agent *node) appear(ctx context.Context, name string) error {
	known, err := agent.api.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	switch {
	case failures.IsNotFound(err):
		_, err = agent.api.CoreV1().Nodes().Create(ctx, agent.described(name), metav1.CreateOptions{})
	case err == nil && !isReady(known):
		var patch []byte
		if patch, err = json.Marshal(map[string]any{"status": agent.described(name).Status}); err == nil {
			_, err = agent.api.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		}
	}
	if err != nil {
		return err
	}
	return agent.renew(ctx, name)
}

func isReady(known *v1.Node) bool {
	for _, condition := range known.Status.Conditions {
		if condition.Type == v1.NodeReady {
			return condition.Status == v1.ConditionTrue
		}
	}
	return false
}

func (agent *node) described(name string) *v1.Node {
	now := metav1.Now()
	capacity := v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("1000"), v1.ResourceMemory: resource.MustParse("4Ti"),
		v1.ResourceEphemeralStorage: resource.MustParse("4Ti"), v1.ResourcePods: resource.MustParse("20000"),
	}
	labels := map[string]string{
		v1.LabelHostname: name, v1.LabelOSStable: "linux", v1.LabelArchStable: "amd64", v1.LabelTopologyZone: "zone-" + name[len(nodePrefix):],
	}
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Status: v1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Conditions: []v1.NodeCondition{{
				Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status",
				LastHeartbeatTime: now, LastTransitionTime: now,
			}},
			Addresses:       []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "127.0.0.1"}, {Type: v1.NodeHostName, Address: name}},
			DaemonEndpoints: v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: agent.port}},
			NodeInfo:        v1.NodeSystemInfo{KubeletVersion: "v1.36.3", OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "test://1"},
		},
	}
}

func (agent *node) renew(ctx context.Context, name string) error {
	leases := agent.api.CoordinationV1().Leases(v1.NamespaceNodeLease)
	now, seconds := metav1.NowMicro(), int32(40)
	lease, err := leases.Get(ctx, name, metav1.GetOptions{})
	if failures.IsNotFound(err) {
		lease = &coordination.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       coordination.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

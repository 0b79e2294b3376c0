package main

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// This file decides what a kubelet would say of a pod, from the pod and the time since it came: pure, no API. A pod asks by annotation:
//
//	node.test/behaviour:  crashloop | oom | fail | complete | unready | slow:5s | imagepull | configerror | initcrash | stuck
//	node.test/log:        what the container has written
//	node.test/stop:       5s (how long it takes to end)
//
// Without one it runs and is ready, or, as the pod of a Job, runs and completes. A time after a colon is how long it runs well before.
// "complete" and "fail" end a pod only if its restartPolicy lets it end; otherwise it is started again, as a kubelet would.
const (
	behaviourAnnotation = "node.test/behaviour"
	logAnnotation       = "node.test/log"
	stopAnnotation      = "node.test/stop"

	startDelay   = 30 * time.Millisecond
	runsFor      = 50 * time.Millisecond
	firstBackOff = 2 * time.Second
	longBackOff  = 20 * time.Second
	pullsFor     = 500 * time.Millisecond
)

type behaviour struct {
	kind  string
	after time.Duration
}

// appearance is what is to be said now, and how long until there is something else to say (0: never).
type appearance struct {
	stage  string
	status *v1.PodStatus
	events []happening
	next   time.Duration
}

type happening struct{ kind, reason, message string }

func behaviourOf(pod *v1.Pod) behaviour {
	kind, after, _ := strings.Cut(pod.Annotations[behaviourAnnotation], ":")
	length, _ := time.ParseDuration(after)
	if kind == "" && isJob(pod) {
		kind = "complete"
	}
	return behaviour{kind, length}
}

func isJob(pod *v1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "Job"
}

// appears is the whole decision. Started is when the pod was first seen here, elapsed the time since.
func appears(pod *v1.Pod, started time.Time, elapsed time.Duration) appearance {
	is := behaviourOf(pod)
	view := view{pod: pod, started: started}
	if is.kind == "stuck" {
		return appearance{stage: "stuck", status: view.status(v1.PodPending, waiting("ContainerCreating", ""))}
	}
	if elapsed < startDelay {
		return appearance{stage: "new", next: startDelay - elapsed}
	}
	elapsed -= startDelay
	switch is.kind {
	case "imagepull":
		return view.imagePull(elapsed)
	case "configerror":
		return view.configError()
	case "initcrash":
		return view.crashLoop(elapsed, is.after, "Error", 1, true)
	case "unready":
		return view.unready()
	case "slow":
		if elapsed < is.after {
			return appearance{stage: "slow", status: view.status(v1.PodRunning, view.running(false)), next: is.after - elapsed}
		}
	case "crashloop":
		return view.crashLoop(elapsed, is.after, "Error", 1, false)
	case "oom":
		return view.crashLoop(elapsed, is.after, "OOMKilled", 137, false)
	case "fail":
		return view.ends(elapsed, is.after, "Error", 1)
	case "complete":
		return view.ends(elapsed, is.after, "Completed", 0)
	}
	return appearance{stage: "ready", status: view.status(v1.PodRunning, view.running(true))}
}

// view makes statuses of one pod.
type view struct {
	pod     *v1.Pod
	started time.Time
}

func (of view) imagePull(elapsed time.Duration) appearance {
	image := of.pod.Spec.Containers[0].Image
	missing := fmt.Sprintf("failed to pull and unpack image %q: failed to resolve reference %q: %s: not found", image, image, image)
	if elapsed < pullsFor {
		return appearance{
			stage:  "pull",
			status: of.status(v1.PodPending, waiting("ErrImagePull", missing)),
			events: []happening{
				{v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", image, missing)},
				{v1.EventTypeWarning, "Failed", "Error: ErrImagePull"},
			},
			next: pullsFor - elapsed,
		}
	}
	message := fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", image, missing)
	return appearance{
		stage:  "backoff",
		status: of.status(v1.PodPending, waiting("ImagePullBackOff", message)),
		events: []happening{{v1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", image)}},
	}
}

func (of view) configError() appearance {
	message := `secret "absent" not found`
	return appearance{
		stage:  "configerror",
		status: of.status(v1.PodPending, waiting("CreateContainerConfigError", message)),
		events: []happening{{v1.EventTypeWarning, "Failed", "Error: " + message}},
	}
}

func (of view) unready() appearance {
	return appearance{
		stage:  "unready",
		status: of.status(v1.PodRunning, of.running(false)),
		events: []happening{{v1.EventTypeWarning, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"}},
	}
}

func (of view) ends(elapsed, after time.Duration, reason string, code int32) appearance {
	policy := of.pod.Spec.RestartPolicy
	if policy == v1.RestartPolicyAlways || (policy == v1.RestartPolicyOnFailure && code != 0) {
		return of.crashLoop(elapsed, after, reason, code, false)
	}
	length := after + runsFor
	if elapsed < length {
		return appearance{stage: "runs", status: of.status(v1.PodRunning, of.running(true)), next: length - elapsed}
	}
	phase := v1.PodSucceeded
	if code != 0 {
		phase = v1.PodFailed
	}
	ended := v1.ContainerState{Terminated: of.terminated(startDelay, length, reason, code)}
	return appearance{stage: "ended", status: of.status(phase, v1.ContainerStatus{State: ended})}
}

// crashLoop is a container that ends again and again. A kubelet waits 10 s, 20 s and so on up to 5 minutes; this one is quicker, and the
// first time it does not wait at all, as the real one.
func (of view) crashLoop(elapsed, after time.Duration, reason string, code int32, first bool) appearance {
	runs := runsFor + after
	begin, pause := time.Duration(0), time.Duration(0)
	for restarts := int32(0); ; restarts++ {
		ended := of.terminated(startDelay+begin, runs, reason, code)
		switch {
		case elapsed < begin+runs:
			shown := of.running(restarts == 0 && after > 0)
			shown.RestartCount = restarts
			if restarts > 0 {
				shown.LastTerminationState.Terminated = of.terminated(startDelay+begin-pause-runs, runs, reason, code)
			}
			return appearance{stage: fmt.Sprint("run", restarts), status: of.crashing(shown, first), next: begin + runs - elapsed}
		case elapsed < begin+runs+backOff(restarts):
			name, full := of.name(first), of.pod.Name+"_"+of.pod.Namespace+"("+string(of.pod.UID)+")"
			shown := waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", backOff(restarts), name, full))
			shown.RestartCount, shown.LastTerminationState.Terminated = restarts, ended
			return appearance{
				stage:  fmt.Sprint("backoff", restarts),
				status: of.crashing(shown, first),
				events: []happening{{v1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s", name, full)}},
				next:   begin + runs + backOff(restarts) - elapsed,
			}
		}
		pause = backOff(restarts)
		begin += runs + pause
	}
}

func backOff(restarts int32) time.Duration {
	if restarts == 0 {
		return 0
	}
	return min(firstBackOff<<min(restarts-1, 10), longBackOff)
}

func (of view) name(first bool) string {
	if first && len(of.pod.Spec.InitContainers) > 0 {
		return of.pod.Spec.InitContainers[0].Name
	}
	return of.pod.Spec.Containers[0].Name
}

// crashing puts the trouble on the first container, or on the first init container; then the others have not begun.
func (of view) crashing(shown v1.ContainerStatus, first bool) *v1.PodStatus {
	if !first || len(of.pod.Spec.InitContainers) == 0 {
		return of.status(v1.PodRunning, shown)
	}
	status := of.status(v1.PodPending, waiting("PodInitializing", ""))
	shown.Started, shown.Ready = new(bool), false
	for number, container := range of.pod.Spec.InitContainers {
		if number > 0 {
			shown = waiting("PodInitializing", "")
		}
		status.InitContainerStatuses[number] = of.identified(container, shown)
	}
	of.condition(status, v1.PodInitialized, false, "ContainersNotInitialized", "containers with incomplete status: ["+of.name(true)+"]")
	return status
}

func waiting(reason, message string) v1.ContainerStatus {
	return v1.ContainerStatus{State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}}
}

func (of view) running(ready bool) v1.ContainerStatus {
	since := metav1.NewTime(of.started.Add(startDelay))
	return v1.ContainerStatus{Ready: ready, State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: since}}}
}

func (of view) terminated(begin, length time.Duration, reason string, code int32) *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{
		ExitCode:    code,
		Reason:      reason,
		StartedAt:   metav1.NewTime(of.started.Add(begin)),
		FinishedAt:  metav1.NewTime(of.started.Add(begin + length)),
		ContainerID: of.containerID(of.pod.Spec.Containers[0].Name),
	}
}

// status is that of a pod whose first container is as shown. Others are well if the first has ever begun.
func (of view) status(phase v1.PodPhase, shown v1.ContainerStatus) *v1.PodStatus {
	others := of.running(true)
	if shown.State.Terminated != nil || phase == v1.PodPending {
		others = shown
	}
	status := &v1.PodStatus{Phase: phase, ObservedGeneration: of.pod.Generation, StartTime: of.pod.Status.StartTime}
	if status.StartTime == nil {
		begun := metav1.NewTime(of.started)
		status.StartTime = &begun
	}
	var unready []string
	for number, container := range of.pod.Spec.Containers {
		is := others
		if number == 0 {
			is = shown
		}
		if !is.Ready {
			unready = append(unready, container.Name)
		}
		status.ContainerStatuses = append(status.ContainerStatuses, of.identified(container, is))
	}
	for _, container := range of.pod.Spec.InitContainers {
		done := v1.ContainerStatus{Ready: true, State: v1.ContainerState{Terminated: of.terminated(0, startDelay, "Completed", 0)}}
		if container.RestartPolicy != nil { // a sidecar
			done = of.running(true)
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, of.identified(container, done))
	}
	of.conditions(status, unready)
	return status
}

func (of view) conditions(status *v1.PodStatus, unready []string) {
	of.condition(status, v1.PodReadyToStartContainers, true, "", "")
	of.condition(status, v1.PodInitialized, true, "", "")
	ready, reason, message := true, "", ""
	switch {
	case status.Phase == v1.PodSucceeded:
		ready, reason = false, "PodCompleted"
	case status.Phase == v1.PodFailed:
		ready, reason = false, "PodFailed"
	case len(unready) > 0:
		ready, reason, message = false, "ContainersNotReady", "containers with unready status: ["+strings.Join(unready, " ")+"]"
	}
	of.condition(status, v1.ContainersReady, ready, reason, message)
	if gate := of.closedGate(); ready && gate != "" {
		ready, reason, message = false, "ReadinessGatesNotReady", fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate)
	}
	of.condition(status, v1.PodReady, ready, reason, message)
}

func (of view) closedGate() string {
	for _, gate := range of.pod.Spec.ReadinessGates {
		open := false
		for _, known := range of.pod.Status.Conditions {
			open = open || (known.Type == gate.ConditionType && known.Status == v1.ConditionTrue)
		}
		if !open {
			return string(gate.ConditionType)
		}
	}
	return ""
}

// condition sets one, with the time of the change only if it is a change.
func (of view) condition(status *v1.PodStatus, kind v1.PodConditionType, holds bool, reason, message string) {
	value := v1.ConditionFalse
	if holds {
		value = v1.ConditionTrue
	}
	made := v1.PodCondition{
		Type: kind, Status: value, Reason: reason, Message: message,
		ObservedGeneration: of.pod.Generation, LastTransitionTime: metav1.Now(),
	}
	for _, known := range of.pod.Status.Conditions {
		if known.Type == kind && known.Status == value {
			made.LastTransitionTime = known.LastTransitionTime
		}
	}
	for number, known := range status.Conditions {
		if known.Type == kind {
			status.Conditions[number] = made
			return
		}
	}
	status.Conditions = append(status.Conditions, made)
}

func (of view) identified(container v1.Container, status v1.ContainerStatus) v1.ContainerStatus {
	begun := status.State.Running != nil
	status.Name, status.Image, status.Started = container.Name, container.Image, &begun
	if begun || status.State.Terminated != nil || status.LastTerminationState.Terminated != nil {
		status.ContainerID = of.containerID(container.Name)
		status.ImageID = fmt.Sprintf("%s@sha256:%x", strings.SplitN(container.Image, "@", 2)[0], sha256.Sum256([]byte(container.Image)))
	}
	return status
}

func (of view) containerID(name string) string {
	return fmt.Sprintf("test://%x", sha256.Sum256([]byte(string(of.pod.UID)+name)))
}

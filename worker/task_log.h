#pragma once

/*
 * What a worker tells of each task, in the words of the Python library, so that what reads its log finds the same texts in
 * `message`: "Hello.Success: jobs.Hello[UUID]: Hello Cedric !". Off unless the setting log-tasks or the level debug asks for it.
 */

#include "worker/entrypoints.h"

bool task_log_is_on(const struct entrypoints *entrypoints);

/* debug: Controller.Registered: {name} */
void task_log_registered(const struct entrypoints *entrypoints, const char *name);

/* debug: {C}.{step}: {P}[{U}] */
void task_log_step(const struct entrypoints *entrypoints, const struct entrypoint *entrypoint, const struct kser_task *task, const char *step);

/* info {C}.Success and error {C}.Failed: {P}[{U}]: {stdout or stderr} */
void task_log_success(const struct entrypoints *entrypoints, const struct entrypoint *entrypoint, const struct kser_task *task, const struct kser_result *result);
void task_log_failed(const struct entrypoints *entrypoints, const struct entrypoint *entrypoint, const struct kser_task *task, const struct kser_result *result);

/* debug: Controller.ReceivedFromKafka: {record}, Controller.ReceivedMessage {name}[{U}] */
void task_log_received(const struct entrypoints *entrypoints, const struct kser_task *task);

/*
 * The router's word, by its own threshold, which is not that of an operation: info Controller.Success for retcodes below 300, else error Controller.Failed.
 */
void task_log_routed(const struct entrypoints *entrypoints, const struct kser_task *task, const struct kser_result *result);

"""Rollouts of adapted environments."""

import jax


def random_rollout(env, time, envs, seed=0):
    """Steps of a uniformly random policy; Step[T, E]."""

    @jax.jit
    def rollout(key):
        reset_key, key = jax.random.split(key)
        state = jax.vmap(env.reset)(jax.random.split(reset_key, envs))

        def step(state, key):
            action_key, env_key = jax.random.split(key)
            action = jax.random.randint(action_key, (envs,), 0, env.spec.num_actions)
            return jax.vmap(env.step)(jax.random.split(env_key, envs), state, action)

        return jax.lax.scan(step, state, jax.random.split(key, time))[1]

    return jax.device_get(rollout(jax.random.key(seed)))

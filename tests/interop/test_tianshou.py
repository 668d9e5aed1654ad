"""Tianshou's collector and trainer on the environment: what is collected is ours, and PPO learns from it."""

from typing import Any

import gymnasium
import numpy as np
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, CollectStats, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import ModuleWithVectorOutput
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

N = 4


class OneHotTokens(ModuleWithVectorOutput):
    """The Dict observation as one vector: V + 1 features a position, all 0 on padding."""

    def __init__(self, task: Any) -> None:
        super().__init__(task.vocab_size * task.length)
        self.vocab_size = task.vocab_size

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[torch.Tensor, Any]:
        ids, mask = torch.as_tensor(obs.input_ids), torch.as_tensor(obs.attention_mask)
        return (torch.nn.functional.one_hot(ids, self.vocab_size) * mask[..., None]).flatten(1).float(), state


def make(arguments: dict[str, Any]) -> tuple[PPO, Collector[CollectStats]]:
    envs = DummyVectorEnv([lambda: gymnasium.make("TextRL/TextGen-v0", **arguments, include_text=True)] * N)
    envs.seed(0)
    torch.manual_seed(0)
    space = gymnasium.make("TextRL/TextGen-v0", **arguments)
    features = OneHotTokens(space.unwrapped.task)  # type: ignore[attr-defined]
    actor = DiscreteActor(preprocess_net=features, action_shape=features.vocab_size, softmax_output=False)
    algorithm = PPO(
        policy=DiscreteActorPolicy(actor=actor, action_space=space.action_space),
        critic=DiscreteCritic(preprocess_net=features),
        optim=AdamOptimizerFactory(lr=0.03),
        gamma=1.0,
    )
    return algorithm, Collector[CollectStats](algorithm, envs, VectorReplayBuffer(2000, N))


def test_the_collector_counts_and_stores_our_rewards(task: Any) -> None:
    _, collector = make(task.arguments)
    collector.reset()
    stats = collector.collect(n_episode=60)
    batch, _ = collector.buffer.sample(0)
    ended = np.flatnonzero(batch.terminated)
    assert len(ended) == stats.n_collected_episodes == 60
    assert not batch.truncated.any()
    texts = [str(batch.info.completion[row]) for row in ended]
    scores = task.arguments["reward"]([task.arguments["prompts"][0]] * 60, texts)
    np.testing.assert_allclose(batch.rew[ended], scores, atol=1e-6)
    np.testing.assert_allclose(np.sort(stats.returns), np.sort(scores), atol=1e-6)
    np.testing.assert_array_equal(batch.obs_next.input_ids[:, -1], batch.act)
    assert stats.lens.sum() == stats.n_collected_steps == len(batch)


def test_one_train_step_moves_the_policy_and_five_more_improve_it(task: Any) -> None:
    algorithm, collector = make(task.arguments)
    before = {name: values.clone() for name, values in algorithm.policy.state_dict().items()}
    collector.reset()
    train(algorithm, collector, n_updates=1)
    after = algorithm.policy.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(values.isfinite().all() for values in after.values())
    train(algorithm, collector, n_updates=5)
    mean = collector.collect(n_episode=100, reset_before_collect=True).returns.mean()
    assert task.random + 0.5 * (task.best - task.random) < mean < task.best + 1e-5


def train(algorithm: PPO, collector: Collector[CollectStats], *, n_updates: int) -> None:
    params = OnPolicyTrainerParams(
        training_collector=collector,
        max_epochs=n_updates,
        epoch_num_steps=200,
        collection_step_num_env_steps=200,
        batch_size=64,
        update_step_num_repetitions=4,
        verbose=False,
        show_progress=False,
    )
    algorithm.run_training(params)
